//! Accepting and abandoning a run, inside the caller's transaction: the row is its own outbox.

use entities::{run, run_event};
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, SqlErr};

use super::{RunsError, op::Op, read, sql};
use crate::{
    db::{Tx, sql_with},
    failure::{Code, Failure},
    ids::{self, RunId},
    journal::{Kind, NewEvent, Phase, Status},
    spec::RunSpec,
};

/// The code of a run that an operator gave up.
pub const ABANDONED: Code = Code::new("ABANDONED");

/// An accepted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Its id.
    pub run: RunId,
    /// Its number within the deployment.
    pub run_no: i64,
    /// When, in microseconds; on a millisecond of its own within the deployment.
    pub at: i64,
}

/// Accepts a run. The caller holds the lock of the deployment's row ([`Tx::lock`]) until it commits: numbers are in order of commit.
///
/// # Errors
/// The database's error; `RecordNotFound` without the deployment.
pub async fn request(tx: &Tx, deployment: &str, spec: &RunSpec) -> Result<Requested, RunsError> {
    let sql = "UPDATE deployment SET last_run_no = last_run_no + 1 WHERE id = $1 RETURNING last_run_no";
    let row = tx.query_one_raw(sql_with(&**tx, sql, [deployment.into()])).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("the deployment".to_owned()))?;
    let run_no: i64 = row.try_get("", "last_run_no")?;
    let newest = run::Entity::find()
        .filter(run::Column::DeploymentId.eq(deployment))
        .order_by_desc(run::Column::RequestedAt)
        .one(&**tx)
        .await?;
    let after_newest = newest.map_or(0, |run| run.requested_at + 1_000);
    let at = (tx.now().await? / 1_000 * 1_000).max(after_newest);
    let mut id = ids::fresh();
    // Two equal ids within a millisecond: look before inserting, since a refused insert ends a PostgreSQL transaction.
    while run::Entity::find_by_id(id).one(&**tx).await?.is_some() {
        id = ids::fresh();
    }
    let row = run::ActiveModel {
        id: Set(id),
        deployment_id: Set(deployment.to_owned()),
        run_no: Set(run_no),
        status: Set(Status::Queued.as_str().to_owned()),
        epoch: Set(0),
        seq: Set(1),
        worker_id: Set(None),
        step: Set(None),
        attempt: Set(0),
        wake_at: Set(None),
        requester: Set(spec.requester.clone()),
        requested_at: Set(at),
        started_at: Set(None),
        ended_at: Set(None),
        cancel_requested_at: Set(None),
        cancel_requested_by: Set(None),
    };
    run::Entity::insert(row).exec_without_returning(&**tx).await?;
    let (kind, data) = Kind::Requested { spec: Box::new(spec.clone()) }.to_row()?;
    let first = run_event::ActiveModel {
        run_id: Set(id),
        seq: Set(1),
        at: Set(at),
        epoch: Set(0),
        kind: Set(kind),
        step: Set(None),
        attempt: Set(None),
        data: Set(data),
    };
    run_event::Entity::insert(first).exec_without_returning(&**tx).await?;
    Ok(Requested { run: RunId(id), run_no, at })
}

/// Ends a STUCK run as FAILED, on an operator's word. False when it is not stuck.
///
/// # Errors
/// The database, or a broken journal.
pub async fn abandon(tx: &Tx, id: RunId, login: &str) -> Result<bool, RunsError> {
    tx.lock("run", "id = $1", id.0).await?;
    let Some(loaded) = read::load(&**tx, id).await? else { return Ok(false) };
    if loaded.state.phase != Phase::Stuck {
        return Ok(false);
    }
    let known = loaded.state.stopped.as_ref().map(|failure| failure.message.as_str()).unwrap_or_default();
    let failure = Failure::new(ABANDONED, format!("Given up by {login}. What was known: {known}"));
    let events = [
        NewEvent::run(Kind::Abandoned { by: login.to_owned() }),
        NewEvent::run(Kind::Finished { status: Status::Failed, failure: Some(failure) }),
    ];
    let op = Op::end(id, &loaded.state, &events).map_err(|source| RunsError::Broken { run: id, source })?;
    Ok(!sql::execute(&**tx, &[&op]).await?.is_empty())
}

/// Deletes all runs of a deployment with their journals and logs. The caller holds the deployment's lock, and has seen that none is unfinished.
///
/// # Errors
/// The database's error.
pub async fn forget(tx: &Tx, deployment: &str) -> Result<(), DbErr> {
    for table in ["run_event", "run_log"] {
        let sql = format!("DELETE FROM {table} WHERE run_id IN (SELECT id FROM run WHERE deployment_id = $1)");
        tx.execute_raw(sql_with(&**tx, sql, [deployment.into()])).await?;
    }
    run::Entity::delete_many().filter(run::Column::DeploymentId.eq(deployment)).exec(&**tx).await.map(drop)
}

/// Whether an error says that a row with this key was there already.
pub fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}
