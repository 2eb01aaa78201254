//! How many runs there are in which state, over the whole fleet. What it costs grows with what is unfinished, not with what has ended.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbErr};

use crate::db::{Db, clock_sql, sql_with};

/// So far into the line of unfinished runs the oldest one is looked for: far beyond what any fleet runs at once.
const LINE: i64 = 20_000;

/// What there is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Unfinished runs by status.
    pub runs: BTreeMap<String, i64>,
    /// How long the oldest run waits that nobody has taken yet and that waits for nothing but a worker, in microseconds; 0 if there is none.
    pub oldest_us: i64,
    /// Workers whose leases hold.
    pub workers: i64,
    /// Those of them that drain.
    pub draining: i64,
    /// By name.
    pub pools: BTreeMap<String, PoolFigures>,
}

/// A pool's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// Slots at once.
    pub limit: i64,
    /// Slots in use.
    pub held: i64,
    /// Attempts in line.
    pub waiting: i64,
    /// Waits given up so far.
    pub timeouts: i64,
}

/// Reads them.
///
/// # Errors
/// The database's error.
pub async fn read(db: &Db) -> Result<Figures, DbErr> {
    let db = db.pool();
    let clock = clock_sql(db.get_database_backend());
    let mut figures = Figures::default();
    let sql = "SELECT status, COUNT(*) AS n FROM run WHERE ended_at IS NULL GROUP BY status";
    for row in db.query_all_raw(sql_with(db, sql, [])).await? {
        figures.runs.insert(row.try_get("", "status")?, row.try_get("", "n")?);
    }
    // From the beginning of the line on, the first of a deployment that is seen is the first of all.
    let sql = format!(
        "SELECT {clock} - MIN(f.requested_at) AS age FROM (
  SELECT r.requested_at, r.epoch, ROW_NUMBER() OVER (PARTITION BY r.deployment_id ORDER BY r.run_no) AS nth FROM (
    SELECT requested_at, epoch, deployment_id, run_no FROM run WHERE ended_at IS NULL ORDER BY requested_at, id LIMIT $1) r) f
WHERE f.nth = 1 AND f.epoch = 0"
    );
    if let Some(row) = db.query_one_raw(sql_with(db, sql, [LINE.into()])).await? {
        figures.oldest_us = row.try_get::<Option<i64>>("", "age")?.unwrap_or(0).max(0);
    }
    let sql = format!(
        "SELECT COUNT(*) AS n, COUNT(draining_since) AS draining FROM worker WHERE ended_at IS NULL AND lease_until >= {clock}"
    );
    if let Some(row) = db.query_one_raw(sql_with(db, sql, [])).await? {
        (figures.workers, figures.draining) = (row.try_get("", "n")?, row.try_get("", "draining")?);
    }
    let valid = |table: &str| {
        format!(
            "(SELECT COUNT(*) FROM {table} t JOIN run r ON r.id = t.run_id JOIN worker w ON w.id = r.worker_id WHERE t.pool = p.name
  AND r.epoch = t.epoch AND r.step = t.step AND r.attempt = t.attempt AND r.ended_at IS NULL AND w.ended_at IS NULL)"
        )
    };
    let sql = format!(
        "SELECT p.name, p.slot_limit, p.timeouts, {} AS held, {} AS waiting FROM pool p",
        valid("pool_holder"),
        valid("pool_waiter")
    );
    for row in db.query_all_raw(sql_with(db, sql, [])).await? {
        let pool = PoolFigures {
            limit: row.try_get::<i32>("", "slot_limit")?.into(),
            held: row.try_get("", "held")?,
            waiting: row.try_get("", "waiting")?,
            timeouts: row.try_get("", "timeouts")?,
        };
        figures.pools.insert(row.try_get("", "name")?, pool);
    }
    Ok(figures)
}
