//! A cancel that comes between a worker's read and its write, with the transactions held open by the test: it is never lost, and nothing is
//! written over.

use engine::{
    db::sql_with,
    journal::{Kind, NewEvent, Status},
    runs::{self, Answer, Cancel, Op},
};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tests::{Base, PATIENCE, Store, history, in_time, until_true};

use super::{Process, bare};

async fn until_locked(base: &Base) {
    until_true("a write that waits for the run's row", PATIENCE, || async {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        base.db.pool().query_one_raw(sql_with(base.db.pool(), sql, [])).await.unwrap().is_some()
    })
    .await;
}

/// Of a run that a worker holds: the write that builds on what was read before is accepted, and its answer tells of the cancel.
#[tokio::test(flavor = "multi_thread")]
async fn between_a_holders_read_and_its_append() {
    let (base, ids) = bare(Store::Postgres, 1).await;
    let (run, process) = (ids[0], Process::new(&base).await);
    assert!(matches!(process.claim(run).await, Answer::Accepted { .. }));
    let read = history::load(&base.db, run).await.state;

    let tx = base.db.begin().await.unwrap();
    assert_eq!(runs::cancel(&tx, run, "eve").await.unwrap(), Cancel::Asked);
    let noted = NewEvent::step(0, 1, Kind::StepNoted { key: "seen".to_owned(), value: json!(1) });
    let op = Op::append(run, &read, &[noted]).unwrap();
    let writer = process.writer.clone();
    let append = tokio::spawn(async move { writer.write(op).await });
    until_locked(&base).await;
    tx.commit().await.unwrap();
    let answer = in_time("the append", append).await.unwrap();
    let Answer::Accepted { cancel_by, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(cancel_by.as_deref(), Some("eve"), "the next write tells of it");
}

/// Of a run that nobody holds: it ends there, and the claim that builds on what was read before is refused.
#[tokio::test(flavor = "multi_thread")]
async fn between_a_claimers_read_and_its_claim() {
    let (base, ids) = bare(Store::Postgres, 1).await;
    let run = ids[0];
    let tx = base.db.begin().await.unwrap();
    assert_eq!(runs::cancel(&tx, run, "eve").await.unwrap(), Cancel::Ended);
    // It reads what was before, since nothing is committed yet.
    let process = Process::new(&base).await;
    let claim = tokio::spawn(async move { process.claim(run).await });
    until_locked(&base).await;
    tx.commit().await.unwrap();
    assert_eq!(in_time("the claim", claim).await.unwrap(), Answer::Refused);
    let loaded = history::load(&base.db, run).await;
    assert_eq!((loaded.state.status(), loaded.row.worker_id), (Status::Cancelled, None));
}

/// The claim was faster, and its commit comes late: the cancel waits for it, and is asked of the holder.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_meets_a_claim_asks_the_holder() {
    let (base, ids) = bare(Store::Postgres, 1).await;
    let (run, process) = (ids[0], Process::new(&base).await);
    // Whoever claims waits for this lock inside its transaction, with the run's row already written.
    for statement in [
        "CREATE FUNCTION come_late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END'",
        "CREATE TRIGGER come_late AFTER UPDATE OF worker_id ON run FOR EACH ROW WHEN (NEW.epoch = 1) EXECUTE FUNCTION come_late()",
    ] {
        base.db.pool().execute_unprepared(statement).await.unwrap();
    }
    let gate = base.open().await.begin().await.unwrap();
    gate.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await.unwrap();
    gate.execute_unprepared("SELECT pg_advisory_xact_lock(4711)").await.unwrap();
    let (db, claimed) = (base.open().await, tokio::spawn(async move { process.claim(run).await }));
    until_locked(&base).await;
    let cancel = tokio::spawn(async move {
        let tx = db.begin().await.unwrap();
        let cancel = runs::cancel(&tx, run, "eve").await.unwrap();
        tx.commit().await.unwrap();
        cancel
    });
    until_true("a cancel that waits", PATIENCE, || async {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'";
        base.db.pool().query_one_raw(sql_with(base.db.pool(), sql, [])).await.unwrap().is_some()
    })
    .await;
    gate.commit().await.unwrap();
    assert!(matches!(in_time("the claim", claimed).await.unwrap(), Answer::Accepted { epoch: 1, .. }));
    assert_eq!(in_time("the cancel", cancel).await.unwrap(), Cancel::Asked);
    assert_eq!(history::load(&base.db, run).await.row.cancel_requested_by.as_deref(), Some("eve"));
}
