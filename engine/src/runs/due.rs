//! What a sweeper finds: runs that somebody should look at, however their bell was lost.

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    db::{Db, clock_sql, sql_with},
    ids::RunId,
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

/// Runs of this worker that somebody asked to cancel.
///
/// # Errors
/// The database's error.
pub async fn cancels(db: &Db, worker: crate::ids::WorkerId) -> Result<Vec<RunId>, DbErr> {
    let sql = "SELECT id FROM run WHERE worker_id = $1 AND cancel_requested_at IS NOT NULL AND ended_at IS NULL";
    ids(db, sql.to_owned(), worker.0).await
}

async fn ids(db: &Db, sql: String, value: impl Into<sea_orm::Value>) -> Result<Vec<RunId>, DbErr> {
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, [value.into()])).await?;
    rows.iter().map(|row| row.try_get("", "id").map(RunId)).collect()
}
