//! What a sweeper finds: runs that somebody should look at, however their bell was lost.

use std::collections::BTreeMap;

use entities::run;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::{
    RunsError,
    read::{self, Loaded},
};
use crate::{
    db::{Db, Tx, clock_sql, sql_with},
    ids::{RunId, WorkerId},
    leases,
    store::Swept,
};

/// So many unfinished runs one look goes through at most: what it costs does not grow with the line.
pub const WINDOW: i64 = 2_000;

/// One look at the line of unfinished runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Those that can go on now, oldest first, each with its place in the line.
    pub runs: Vec<(RunId, Place)>,
    /// Those that an ended worker held, wherever they stand, oldest first: their bells went with it.
    pub orphans: Vec<RunId>,
    /// How far it went; None when it came to the end.
    pub to: Option<Place>,
}

/// A place in the line of unfinished runs: when it was requested, then its id. The next look goes on behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When, in microseconds.
    pub requested_at: i64,
    /// The run.
    pub run: i64,
}

/// The runs that can go on now, oldest first: unfinished, not stuck, due, held by nobody living, first in their deployment; as far as one look
/// at the line goes, from a place in it on. Those that an ended worker held are found wherever they stand: they must not wait until a look comes by.
/// `limit`: so many in all.
///
/// # Errors
/// The database's error.
pub async fn look(db: &Db, from: Place, limit: u64) -> Result<Look, DbErr> {
    let sql = look_sql(db.pool().get_database_backend());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [from.requested_at.into(), from.run.into(), WINDOW.into(), limit.into()];
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, values)).await?;
    let place = |row: &sea_orm::QueryResult, at: &str, id: &str| -> Result<Option<Place>, DbErr> {
        let at: Option<i64> = row.try_get("", at)?;
        let id: Option<i64> = row.try_get("", id)?;
        Ok(at.zip(id).map(|(requested_at, run)| Place { requested_at, run }))
    };
    let mut look = Look::default();
    for row in &rows {
        look.to = place(row, "last_at", "last_id")?;
        let Some(at) = place(row, "at", "id")? else { continue };
        match row.try_get::<Option<i64>>("", "orphan")? {
            Some(1) => look.orphans.push(RunId(at.run)),
            _ => look.runs.push((RunId(at.run), at)),
        }
    }
    if (look.runs.len() + look.orphans.len()) as i64 == limit {
        look.to = Some(look.runs.last().map_or(from, |(_, place)| *place));
    }
    Ok(look)
}

/// Walks the index of unfinished runs for as far as the window goes, and asks of each by index, too, whatever the planner thinks of the tables'
/// sizes: the number of rows that have ended, or that wait behind others, must not matter. Of each deployment only the first in the window can
/// be the first of all, so that no other one is asked for. Nobody holds what has ended; that ids are positive keeps SQLite to the index of what is
/// held. There is one row at least, which says where the window ends.
pub fn look_sql(backend: DbBackend) -> String {
    let clock = clock_sql(backend);
    let columns = "r.requested_at AS at, r.id, r.deployment_id, r.run_no, r.status, r.wake_at, r.cancel_requested_at";
    format!(
        "WITH line AS (SELECT {columns}, r.worker_id FROM run r WHERE r.ended_at IS NULL AND (r.requested_at, r.id) > ($1, $2)
  ORDER BY r.requested_at, r.id LIMIT $3),
firsts AS (SELECT l.*, ROW_NUMBER() OVER (PARTITION BY l.deployment_id ORDER BY l.run_no) AS nth FROM line l),
found AS (SELECT f.at, f.id, f.deployment_id, f.run_no, f.status, f.wake_at, f.cancel_requested_at, 0 AS orphan FROM firsts f
    WHERE f.nth = 1 AND f.worker_id IS NULL
  UNION ALL SELECT {columns}, 1 AS orphan FROM run r JOIN worker w ON w.id = r.worker_id WHERE r.worker_id > 0 AND w.ended_at IS NOT NULL)
SELECT d.at AS at, d.id AS id, CAST(d.orphan AS BIGINT) AS orphan, e.at AS last_at, e.id AS last_id FROM (SELECT 1 AS one) o
LEFT JOIN (SELECT l.at, l.id FROM line l ORDER BY l.at, l.id LIMIT 1 OFFSET $3 - 1) e ON true
LEFT JOIN (SELECT c.at, c.id, c.orphan FROM found c
  WHERE c.status <> 'STUCK'
    AND (c.wake_at IS NULL OR c.wake_at <= {clock} OR c.cancel_requested_at IS NOT NULL)
    AND c.run_no = (SELECT MIN(o.run_no) FROM run o WHERE o.deployment_id = c.deployment_id AND o.ended_at IS NULL)
  ORDER BY c.orphan DESC, c.at, c.id LIMIT $4) d ON true
ORDER BY d.at, d.id"
    )
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

/// The notes of the newest run before this one that got to a step of one of the kinds `from` in this lane, if it ended before one of the kinds `until` was
/// recorded there with an output: what it read before it changed the node is still what was there before. Else empty.
///
/// # Errors
/// The database, or a broken journal.
pub async fn unfinished_notes(
    db: &Db,
    before: &run::Model,
    lane: Option<&str>,
    from: &[&str],
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
        if state.is_settled(lane, until) {
            break;
        }
        let steps = state.spec.plan.steps.iter().zip(&state.steps);
        let mut steps = steps.filter(|(planned, _)| planned.lane.as_deref() == lane);
        if steps.any(|(planned, step)| from.contains(&planned.kind.as_str()) && !step.attempts.is_empty()) {
            return Ok(state.notes);
        }
    }
    Ok(BTreeMap::new())
}

async fn ids(db: &Db, sql: String, value: impl Into<sea_orm::Value>) -> Result<Vec<RunId>, DbErr> {
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, [value.into()])).await?;
    rows.iter().map(|row| row.try_get("", "id").map(RunId)).collect()
}
