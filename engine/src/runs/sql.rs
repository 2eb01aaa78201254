//! A batch of writes as one commit. One JSON document goes in; the rows that were accepted come out; whoever is missing was refused.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult};
use serde_json::json;

use super::op::Op;
use crate::db::{Db, clock_sql, sql_with};

/// One accepted write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The run.
    pub run: i64,
    /// The epoch that it was written under.
    pub epoch: i64,
    /// The number of its last event.
    pub seq: i64,
    /// When, in microseconds.
    pub at: i64,
    /// Who asked to cancel, if anybody did.
    pub cancel_by: Option<String>,
}

/// The update that both databases share: it moves each run from the state that its writer knows to the one after, or not at all.
///
/// A claim needs a run that nobody living holds; one that goes on also needs a living claimer, a run that is due, not stuck, and first in
/// its deployment. An append needs a holder that has not ended: what an ended worker held may already be somebody else's.
fn update(backend: DbBackend, source: &str) -> String {
    let clock = clock_sql(backend);
    format!(
        "UPDATE run SET seq = run.seq + i.n, status = i.status, step = i.step, attempt = i.attempt,
  epoch = run.epoch + CASE WHEN i.claim THEN 1 ELSE 0 END,
  worker_id = CASE WHEN i.release THEN NULL WHEN i.claim THEN i.worker ELSE run.worker_id END,
  wake_at = {clock} + i.wake_in,
  started_at = COALESCE(run.started_at, CASE WHEN i.worker IS NOT NULL THEN {clock} END),
  ended_at = CASE WHEN i.ended THEN {clock} END,
  cancel_requested_at = COALESCE(run.cancel_requested_at, CASE WHEN i.cancelled_by IS NOT NULL THEN {clock} END),
  cancel_requested_by = COALESCE(run.cancel_requested_by, i.cancelled_by)
FROM {source} AS i
WHERE run.id = i.run AND run.epoch = i.epoch AND run.seq = i.seq AND run.ended_at IS NULL
  AND CASE WHEN i.claim THEN
    (run.worker_id IS NULL OR EXISTS (SELECT 1 FROM worker w WHERE w.id = run.worker_id AND w.ended_at IS NOT NULL))
    AND (i.worker IS NULL OR (
      run.status <> 'STUCK'
      AND (run.wake_at IS NULL OR run.wake_at <= {clock} OR run.cancel_requested_at IS NOT NULL)
      AND EXISTS (SELECT 1 FROM worker w WHERE w.id = i.worker AND w.ended_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM run o WHERE o.deployment_id = run.deployment_id AND o.run_no < run.run_no AND o.ended_at IS NULL)))
  ELSE EXISTS (SELECT 1 FROM worker w WHERE w.id = run.worker_id AND w.ended_at IS NULL) END
"
    )
}

const COLUMNS: &str = "run.id AS id, run.epoch AS epoch, run.seq AS seq, run.cancel_requested_by AS cancel_by";

/// Commits a batch in which no run occurs twice. An error leaves either outcome.
pub(crate) async fn commit(db: &Db, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
    if !db.is_sqlite() {
        return execute(db.pool(), ops).await;
    }
    let tx = db.begin().await?;
    let rows = execute(&*tx, ops).await?;
    tx.commit().await?;
    Ok(rows)
}

/// Executes a batch in which no run occurs twice. The caller commits on SQLite; on PostgreSQL it is one statement.
pub(super) async fn execute<C: ConnectionTrait>(db: &C, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
    match db.get_database_backend() {
        DbBackend::Postgres => postgres(db, ops).await,
        _ => sqlite(db, ops).await,
    }
}

async fn postgres<C: ConnectionTrait>(db: &C, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
    let source = "jsonb_to_recordset($1::jsonb)";
    let typed = "i(run bigint, claim boolean, worker bigint, epoch bigint, seq bigint, n bigint, status text, step bigint, \
                 attempt bigint, wake_in bigint, release boolean, ended boolean, cancelled_by text, events jsonb)";
    let update = update(DbBackend::Postgres, source).replacen("AS i\n", &format!("AS {typed}\n"), 1);
    let clock = clock_sql(DbBackend::Postgres);
    let sql = format!(
        "WITH f AS ({update} RETURNING {COLUMNS}, i.n AS n, i.events AS events, {clock} AS at),
e AS (INSERT INTO run_event (run_id, seq, at, epoch, kind, step, attempt, data)
  SELECT f.id, f.seq - f.n + v.off, f.at, f.epoch, v.e->>'kind', (v.e->>'step')::bigint, (v.e->>'attempt')::bigint, v.e->>'data'
  FROM f CROSS JOIN LATERAL jsonb_array_elements(f.events) WITH ORDINALITY AS v(e, off))
SELECT id, epoch, seq, at, cancel_by FROM f"
    );
    let document = serde_json::to_string(ops).map_err(|error| DbErr::Json(error.to_string()))?;
    db.query_all_raw(sql_with(db, sql, [document.into()])).await?.iter().map(row).collect()
}

async fn sqlite<C: ConnectionTrait>(db: &C, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
    let field = |name: &str| format!("json_extract(value, '$.{name}') AS {name}");
    let names = [
        "run",
        "claim",
        "worker",
        "epoch",
        "seq",
        "n",
        "status",
        "step",
        "attempt",
        "wake_in",
        "release",
        "ended",
        "cancelled_by",
    ];
    let source = format!("(SELECT {} FROM json_each($1))", names.map(field).join(", "));
    let clock = clock_sql(DbBackend::Sqlite);
    let sql = format!("{} RETURNING {COLUMNS}, {clock} AS at", update(DbBackend::Sqlite, &source));
    let document = serde_json::to_string(ops).map_err(|error| DbErr::Json(error.to_string()))?;
    let rows: Vec<Written> =
        db.query_all_raw(sql_with(db, sql, [document.into()])).await?.iter().map(row).collect::<Result<_, _>>()?;
    let events: Vec<_> = rows
        .iter()
        .filter_map(|row| ops.iter().find(|op| op.run == row.run).map(|op| (row, op)))
        .flat_map(|(row, op)| {
            op.events.iter().enumerate().map(move |(off, event)| {
                json!({ "run": row.run, "seq": row.seq - op.n + 1 + off as i64, "at": row.at, "epoch": row.epoch, "e": event })
            })
        })
        .collect();
    if !events.is_empty() {
        let sql = "INSERT INTO run_event (run_id, seq, at, epoch, kind, step, attempt, data)
SELECT json_extract(value, '$.run'), json_extract(value, '$.seq'), json_extract(value, '$.at'), json_extract(value, '$.epoch'),
  json_extract(value, '$.e.kind'), json_extract(value, '$.e.step'), json_extract(value, '$.e.attempt'), json_extract(value, '$.e.data')
FROM json_each($1)";
        let document = serde_json::to_string(&events).map_err(|error| DbErr::Json(error.to_string()))?;
        db.execute_raw(sql_with(db, sql, [document.into()])).await?;
    }
    Ok(rows)
}

fn row(row: &QueryResult) -> Result<Written, DbErr> {
    Ok(Written {
        run: row.try_get("", "id")?,
        epoch: row.try_get("", "epoch")?,
        seq: row.try_get("", "seq")?,
        at: row.try_get("", "at")?,
        cancel_by: row.try_get("", "cancel_by")?,
    })
}
