//! The rows of workers.

use entities::worker;
use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde_json::Value;

use crate::{
    db::{Db, DbErr, Tx, clock_sql, sql_with},
    ids::WorkerId,
};

/// So long after its end a worker's row is kept, in microseconds: for whoever looks at what happened.
const KEPT_US: i64 = 7 * 24 * 3_600 * 1_000_000;

pub(crate) async fn register(
    db: &Db,
    worker: WorkerId,
    before: Option<WorkerId>,
    name: &str,
    facts: &Value,
    lease_us: i64,
) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let now = tx.now().await?;
    let row = worker::ActiveModel {
        id: Set(worker.0),
        name: Set(name.to_owned()),
        started_at: Set(now),
        lease_until: Set(now + lease_us),
        ended_at: Set(None),
        draining_since: Set(None),
        facts: Set(facts.to_string()),
        came_back_at: Set(None),
    };
    worker::Entity::insert(row).exec_without_returning(&*tx).await?;
    if let Some(before) = before {
        let sql = "UPDATE worker SET came_back_at = $2 WHERE id = $1 AND came_back_at IS NULL";
        tx.execute_raw(sql_with(&*tx, sql, [before.0.into(), now.into()])).await?;
    }
    tx.commit().await
}

pub(crate) async fn came_back(db: &Db, workers: &[WorkerId]) -> Result<Vec<WorkerId>, DbErr> {
    let rows = worker::Entity::find()
        .filter(worker::Column::Id.is_in(workers.iter().map(|worker| worker.0)))
        .filter(worker::Column::CameBackAt.is_not_null())
        .all(db.pool())
        .await?;
    Ok(rows.into_iter().map(|row| WorkerId(row.id)).collect())
}

pub(crate) async fn renew(db: &Db, worker: WorkerId, lease_us: i64) -> Result<bool, DbErr> {
    let tx = db.begin().await?;
    let clock = clock_sql(tx.get_database_backend());
    let sql = format!(
        "UPDATE worker SET lease_until = {clock} + $2 WHERE id = $1 AND ended_at IS NULL AND lease_until > {clock}"
    );
    let result = tx.execute_raw(sql_with(&*tx, sql, [worker.0.into(), lease_us.into()])).await?;
    tx.commit().await?;
    Ok(result.rows_affected() == 1)
}

pub(crate) async fn is_to_drain(db: &Db, worker: WorkerId) -> Result<bool, DbErr> {
    let row = worker::Entity::find_by_id(worker.0).one(db.pool()).await?;
    Ok(row.is_some_and(|row| row.draining_since.is_some()))
}

/// Asks a worker to drain, once the caller commits: its next heartbeat sees it. Answers whether there is such a worker, and it has not ended.
///
/// # Errors
/// The database's error.
pub async fn drain(tx: &Tx, worker: WorkerId) -> Result<bool, DbErr> {
    let clock = clock_sql(tx.get_database_backend());
    let sql = format!(
        "UPDATE worker SET draining_since = COALESCE(draining_since, {clock}) WHERE id = $1 AND ended_at IS NULL"
    );
    let found = tx.execute_raw(sql_with(&**tx, sql, [worker.0.into()])).await?;
    Ok(found.rows_affected() == 1)
}

pub(crate) async fn end(db: &Db, worker: WorkerId) -> Result<(), DbErr> {
    let tx = db.begin().await?;
    let sql = format!(
        "UPDATE worker SET ended_at = {} WHERE id = $1 AND ended_at IS NULL",
        clock_sql(tx.get_database_backend())
    );
    tx.execute_raw(sql_with(&*tx, sql, [worker.0.into()])).await?;
    tx.commit().await
}

/// Ends every worker whose lease lapsed. Final: whatever follows, now or later, may count on it.
///
/// # Errors
/// The database's error.
pub async fn end_lapsed(tx: &Tx) -> Result<Vec<WorkerId>, DbErr> {
    let clock = clock_sql(tx.get_database_backend());
    let sql =
        format!("UPDATE worker SET ended_at = {clock} WHERE ended_at IS NULL AND lease_until < {clock} RETURNING id");
    let rows = tx.query_all_raw(sql_with(&**tx, sql, [])).await?;
    let ended = rows.iter().map(|row| row.try_get("", "id").map(WorkerId)).collect::<Result<Vec<_>, _>>()?;
    for worker in &ended {
        tracing::warn!(worker.id = %worker, "a worker's lease lapsed; what it held is free");
    }
    Ok(ended)
}

/// Forgets workers that ended a week ago and hold nothing, if a later one publishes the same: hooks may name what any worker ever published. Answers
/// how many.
///
/// # Errors
/// The database's error.
pub async fn forget_old(db: &Db) -> Result<u64, DbErr> {
    let tx = db.begin().await?;
    let clock = clock_sql(tx.get_database_backend());
    let sql = format!(
        "DELETE FROM worker WHERE ended_at < {clock} - $1 AND NOT EXISTS (SELECT 1 FROM run r WHERE r.worker_id = worker.id)
  AND EXISTS (SELECT 1 FROM worker w WHERE w.facts = worker.facts AND w.id > worker.id)"
    );
    let gone = tx.execute_raw(sql_with(&*tx, sql, [KEPT_US.into()])).await?.rows_affected();
    tx.commit().await?;
    Ok(gone)
}
