//! What a sweeper finds: runs that somebody should look at, however their bell was lost.

use std::collections::BTreeMap;

use entities::run;
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::{
    RunsError,
    read::{self, Loaded},
};
use crate::{
    db::{Db, Tx, clock_sql, sql_with},
    ids::{RunId, WorkerId},
    journal::StepState,
    leases,
    store::Swept,
};

/// The runs that can go on now, oldest first: unfinished, not stuck, due, held by nobody living, first in their deployment.
///
/// # Errors
/// The database's error.
pub async fn due(db: &Db, limit: u64) -> Result<Vec<RunId>, DbErr> {
    let clock = clock_sql(db.pool().get_database_backend());
    let sql = format!(
        "SELECT r.id AS id FROM run r WHERE r.ended_at IS NULL AND r.status <> 'STUCK'
  AND (r.worker_id IS NULL OR EXISTS (SELECT 1 FROM worker w WHERE w.id = r.worker_id AND w.ended_at IS NOT NULL))
  AND (r.wake_at IS NULL OR r.wake_at <= {clock} OR r.cancel_requested_at IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM run o WHERE o.deployment_id = r.deployment_id AND o.run_no < r.run_no AND o.ended_at IS NULL)
ORDER BY r.requested_at, r.id LIMIT $1"
    );
    ids(db, sql, limit as i64).await
}

/// The run that goes on when another one of its deployment has ended.
///
/// # Errors
/// The database's error.
pub async fn next_of_deployment(db: &Db, deployment: &str) -> Result<Option<RunId>, DbErr> {
    let sql = "SELECT id FROM run WHERE deployment_id = $1 AND ended_at IS NULL ORDER BY run_no LIMIT 1";
    Ok(ids(db, sql.to_owned(), deployment).await?.pop())
}

/// The runs that this worker holds.
///
/// # Errors
/// The database's error.
pub async fn held_by(db: &Db, worker: WorkerId) -> Result<Vec<RunId>, DbErr> {
    ids(db, "SELECT id FROM run WHERE worker_id = $1 AND ended_at IS NULL".to_owned(), worker.0).await
}

/// Runs of this worker that somebody asked to cancel, with the login.
///
/// # Errors
/// The database's error.
pub async fn cancels(db: &Db, worker: WorkerId) -> Result<Vec<(RunId, String)>, DbErr> {
    let sql = "SELECT id, cancel_requested_by AS login FROM run
WHERE worker_id = $1 AND cancel_requested_at IS NOT NULL AND ended_at IS NULL";
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, [worker.0.into()])).await?;
    rows.iter().map(|row| Ok((RunId(row.try_get("", "id")?), row.try_get("", "login")?))).collect()
}

/// Takes the right to sweep, once a period for the whole fleet: N workers need not look N times.
///
/// # Errors
/// The database's error.
pub async fn take_chore(tx: &Tx, name: &str, period_us: i64) -> Result<bool, DbErr> {
    let clock = clock_sql(tx.get_database_backend());
    let sql = format!("UPDATE chore SET at = {clock} WHERE name = $1 AND at <= {clock} - $2");
    Ok(tx.execute_raw(sql_with(&**tx, sql, [name.into(), period_us.into()])).await?.rows_affected() == 1)
}

/// One process's part of a sweep: draws who sweeps for the whole fleet this period, and ends lapsed workers if it is this process. `always`: it
/// sweeps, whoever else does.
///
/// # Errors
/// The database's error.
pub async fn sweep(db: &Db, always: bool, period_us: i64, forget_every_us: i64) -> Result<Swept, DbErr> {
    let tx = db.begin().await?;
    let mine = take_chore(&tx, "sweep", period_us).await? || always;
    let forget = take_chore(&tx, "forget", forget_every_us).await?;
    let ended = if mine { leases::end_lapsed(&tx).await? } else { Vec::new() };
    tx.commit().await?;
    Ok(Swept { mine, forget, ended })
}

/// The notes of the newest run before this one that got to a step of kind `from`, if it ended before one of the kinds `until` was recorded
/// with an output: what it read before it changed the node is still what was there before. Else empty.
///
/// # Errors
/// The database, or a broken journal.
pub async fn unfinished_notes(
    db: &Db,
    before: &run::Model,
    from: &str,
    until: &[&str],
) -> Result<BTreeMap<String, Value>, RunsError> {
    let earlier = run::Entity::find()
        .filter(run::Column::DeploymentId.eq(&before.deployment_id))
        .filter(run::Column::RunNo.lt(before.run_no))
        .order_by_desc(run::Column::RunNo)
        .limit(50)
        .all(db.pool())
        .await?;
    for row in earlier {
        let Some(Loaded { state, .. }) = read::load(db.pool(), RunId(row.id)).await? else { continue };
        let mut steps = state.spec.plan.steps.iter().zip(&state.steps);
        let recorded = |step: &StepState| step.output.as_ref().is_some_and(|output| !output.is_null());
        if steps.clone().any(|(planned, step)| until.contains(&planned.kind.as_str()) && recorded(step)) {
            break;
        }
        if steps.any(|(planned, step)| planned.kind == from && !step.attempts.is_empty()) {
            return Ok(state.notes);
        }
    }
    Ok(BTreeMap::new())
}

async fn ids(db: &Db, sql: String, value: impl Into<sea_orm::Value>) -> Result<Vec<RunId>, DbErr> {
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, [value.into()])).await?;
    rows.iter().map(|row| row.try_get("", "id").map(RunId)).collect()
}
