//! What is kept of runs that have ended: logs go first, then journals and rows. In small batches, oldest first.
//!
//! Ids are in order of time, so that the primary keys lead to what is old; no index is kept for it. What it costs grows with what goes, and with
//! the runs that stay whatever their age.

use sea_orm::{ConnectionTrait, DbErr};
use serde::{Deserialize, Serialize};

use crate::db::{Db, Tx, sql_with};

/// How many runs go in one transaction.
const BATCH: i64 = 200;
/// How many batches at most at a time: what is left goes the next time.
const BATCHES: usize = 500;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// How long runs that have ended are kept, in days; 0 is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Rows and journals, and with them what is left of their logs.
    pub runs_days: u32,
    /// What hooks and steps said.
    pub logs_days: u32,
}

/// How many runs lost what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Their logs.
    pub logs: u64,
    /// All.
    pub runs: u64,
}

/// Forgets what is older than that. A deployment's newest run that succeeded, and all after it, stay whatever their age: what a later run
/// inherits (a retry's hooks, notes of what was there before) comes from those alone. So do runs that have not ended, stuck ones among
/// them, and such that a repeated request is still answered with.
///
/// # Errors
/// The database's error; what went before it stays gone.
pub async fn retain(db: &Db, retention: Retention) -> Result<Forgotten, DbErr> {
    let now = db.now().await?;
    let mut forgotten = Forgotten::default();
    if retention.logs_days > 0 {
        let before = now - i64::from(retention.logs_days) * DAY_US;
        // Runs before the oldest log have lost theirs.
        let sql = "SELECT r.id FROM run r WHERE r.id >= (SELECT MIN(l.run_id) FROM run_log l WHERE l.run_id > $2) AND r.id < $3
  AND r.ended_at < $1 AND EXISTS (SELECT 1 FROM run_log l WHERE l.run_id = r.id) ORDER BY r.id LIMIT $4";
        forgotten.logs = batches(db, sql, before, &["run_log"]).await?;
    }
    if retention.runs_days > 0 {
        let before = now - i64::from(retention.runs_days) * DAY_US;
        let sql = "SELECT r.id FROM run r WHERE r.id > $2 AND r.id < $3 AND r.ended_at < $1
  AND EXISTS (SELECT 1 FROM run n WHERE n.deployment_id = r.deployment_id AND n.run_no > r.run_no AND n.status IN ('SUCCEEDED', 'WARNING'))
  AND NOT EXISTS (SELECT 1 FROM idempotency_key k WHERE k.run_id = r.id)
ORDER BY r.id LIMIT $4";
        forgotten.runs = batches(db, sql, before, &["run_log", "run_event", "run"]).await?;
    }
    Ok(forgotten)
}

/// Deletes from these tables, batch by batch, what `sql` finds: $1 is the time before which a run must have ended, $2 the last id seen, $3 the
/// first id that is too young, $4 how many.
async fn batches(db: &Db, sql: &str, before: i64, tables: &[&str]) -> Result<u64, DbErr> {
    let (mut seen, mut gone) = (0, 0);
    let young = crate::ids::first_of(before);
    for _ in 0..BATCHES {
        let values = [before.into(), seen.into(), young.into(), BATCH.into()];
        let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, values)).await?;
        let runs = rows.iter().map(|row| row.try_get("", "id")).collect::<Result<Vec<i64>, _>>()?;
        let Some(last) = runs.last() else { break };
        seen = *last;
        let tx = db.begin().await?;
        delete(&tx, tables, &runs).await?;
        tx.commit().await?;
        gone += runs.len() as u64;
    }
    Ok(gone)
}

/// Nobody writes to a run that has ended, so what was found still holds.
async fn delete(tx: &Tx, tables: &[&str], runs: &[i64]) -> Result<(), DbErr> {
    let ids = runs.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    for table in tables {
        let key = if *table == "run" { "id" } else { "run_id" };
        tx.execute_raw(sql_with(&**tx, format!("DELETE FROM {table} WHERE {key} IN ({ids})"), [])).await?;
    }
    Ok(())
}
