//! Rows of runs, many at once, straight in the database: what was asked for long ago, and has ended or waits.

use engine::{
    db::{Db, sql_with},
    journal::Kind,
    plan::{OnFailure, OnInterrupt, Plan, PlannedStep, StepPolicy},
    retry::RetryPolicy,
    spec::RunSpec,
};
use sea_orm::ConnectionTrait;
use serde_json::Value;

use crate::failure::LabError;

/// So many rows go in one transaction: on SQLite others wait for it.
const AT_ONCE: i64 = 10_000;

/// What the rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Ended; each of a deployment of its own.
    Ended,
    /// Each the first of a deployment of its own, and due.
    Due,
    /// Each the first of a deployment of its own, and parked for ever.
    Parked,
    /// All of one deployment, whose first one is stuck.
    Behind,
}

/// Adds `count` rows, with ids and times from `first` on. Those that wait have a journal: they can be claimed.
pub(super) async fn fill(db: &Db, first: i64, count: i64, rows: Rows) -> Result<(), LabError> {
    let (deployment, status, wake_at, ended_at) = match rows {
        Rows::Ended => ("'line-' || n", "'SUCCEEDED'", "NULL", "n"),
        Rows::Due => ("'line-' || n", "'QUEUED'", "NULL", "NULL"),
        Rows::Parked => ("'line-' || n", "'WAITING'", "9000000000000000", "NULL"),
        Rows::Behind => ("'one'", &*format!("CASE WHEN n = {first} THEN 'STUCK' ELSE 'QUEUED' END"), "NULL", "NULL"),
    };
    let (kind, data) =
        Kind::Requested { spec: Box::new(spec()) }.to_row().map_err(|error| LabError::failed("a spec", error))?;
    for from in (first..first + count).step_by(AT_ONCE as usize) {
        let last = (from + AT_ONCE).min(first + count) - 1;
        let numbers = format!(
            "WITH RECURSIVE numbers(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last})"
        );
        let tx = db.begin().await?;
        let sql = format!(
            "{numbers} INSERT INTO run (id, deployment_id, run_no, status, epoch, seq, attempt, requester, requested_at, wake_at, ended_at)
SELECT n, {deployment}, n, {status}, 0, 1, 0, 'admin', n * 1000, {wake_at}, {ended_at} FROM numbers"
        );
        tx.execute_unprepared(&sql).await?;
        if rows != Rows::Ended {
            let sql = format!(
                "{numbers} INSERT INTO run_event (run_id, seq, at, epoch, kind, data) SELECT n, 1, n * 1000, 0, $1, $2 FROM numbers"
            );
            tx.execute_raw(sql_with(&*tx, sql, [kind.clone().into(), data.clone().into()])).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// PostgreSQL counts its tables by itself, a minute later; SQLite never does.
pub(super) async fn count_tables(db: &Db) -> Result<(), LabError> {
    if !db.is_sqlite() {
        db.pool().execute_unprepared("ANALYZE").await?;
    }
    Ok(())
}

fn spec() -> RunSpec {
    let step = PlannedStep {
        name: "check_policy".to_owned(),
        kind: "check_policy".to_owned(),
        policy: StepPolicy { retry: RetryPolicy::NEVER, deadline_ms: 60_000 },
        params: Value::Null,
        restorable: false,
        only_after_failure: false,
        slot: None,
        on_interrupt: OnInterrupt::Rerun,
        failure_warns: false,
        lane: None,
    };
    let plan = Plan::new(vec![step], OnFailure::Leave);
    RunSpec { plan, requester: "admin".to_owned(), body: Value::Null, inherited: None }
}
