//! Interleavings that were seen to go wrong on designs like this one, each made by hand on PostgreSQL: who is to be late waits at its commit
//! for a lock that the test holds.

use std::time::Duration;

use engine::{
    bell::Bell,
    db::{Db, Tx, sql_with},
    slots::{
        Demand, Place, Slots,
        turn::{self, Granted, Wishes},
    },
    store::Store as _,
};
use sea_orm::ConnectionTrait;
use tests::{PATIENCE, Store, in_time, until, until_true};

use super::bench::{Bench, LEASE, POOL};

/// Any constant that nobody else locks in this database.
const LATE: i64 = 4_711;
const WINDOW: Duration = Duration::from_secs(10);

/// Heartbeats wait at their commit for the lock [`LATE`].
async fn late_heartbeats(db: &Db) {
    for statement in [
        "CREATE FUNCTION come_late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END'",
        "CREATE CONSTRAINT TRIGGER come_late AFTER UPDATE OF lease_until ON worker DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW WHEN (NEW.name = 'late') EXECUTE FUNCTION come_late()",
    ] {
        db.pool().execute_unprepared(statement).await.unwrap();
    }
}

async fn hold_late(db: &Db) -> Tx {
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await.unwrap();
    tx.execute_raw(sql_with(&*tx, "SELECT pg_advisory_xact_lock($1)", [LATE.into()])).await.unwrap();
    tx
}

/// Waits until so many sessions of this database wait for a lock of this kind.
async fn until_waiting(db: &Db, kind: &str) {
    until_true(&format!("somebody who waits for a lock of kind {kind}"), PATIENCE, || async {
        let sql = "SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = $1";
        db.pool().query_one_raw(sql_with(db.pool(), sql, [kind.into()])).await.unwrap().is_some()
    })
    .await;
}

async fn turn(bench: &Bench, worker: engine::ids::WorkerId, wishes: Wishes) -> Granted {
    turn::take(bench.db(), POOL, worker, &LEASE, &wishes).await.unwrap()
}

fn entering(demand: &Demand) -> Wishes {
    Wishes { enter: vec![demand.clone()], ..Wishes::default() }
}

/// It passed its check while the lease held, and commits when the lease has lapsed; meanwhile somebody wants to give its slots away. Either it is
/// in time and keeps them, or it is given up and hears of it: never both.
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_commits_late_is_in_time_or_refused() {
    let bench = Bench::new(Store::Postgres).await;
    let (late, other) = (bench.worker().await, bench.worker().await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bench.run(late, WINDOW).await);
    }
    let granted = turn(&bench, late, Wishes { enter: held.clone(), ..Wishes::default() }).await;
    assert_eq!(granted.new.len(), 3);
    late_heartbeats(bench.db()).await;
    let gate = hold_late(&bench.base.open().await).await;
    let beats = bench.base.open().await;
    // Long enough to pass the check, over before it commits.
    let soon = bench.db().now().await.unwrap() + 500_000;
    bench.sql("UPDATE worker SET lease_until = $1 WHERE id = $2", [soon.into(), late.0.into()]).await;
    bench.sql("UPDATE worker SET name = 'late' WHERE id = $1", [late.0.into()]).await;
    let heartbeat = tokio::spawn(async move { beats.renew(late, 3_600_000_000).await.unwrap() });
    until_waiting(bench.db(), "advisory").await;
    until_true("a lapsed lease", PATIENCE, || async { bench.db().now().await.unwrap() > soon }).await;

    let waits = bench.run(other, WINDOW).await;
    let (base, wishes) = (bench.base.open().await, entering(&waits));
    let grants = tokio::spawn(async move { turn::take(&base, POOL, other, &LEASE, &wishes).await.unwrap() });
    until_waiting(bench.db(), "transactionid").await;
    gate.commit().await.unwrap();
    let renewed = in_time("the heartbeat", heartbeat).await.unwrap();
    let granted = in_time("the turn", grants).await.unwrap();

    let seen = bench.seen().await;
    assert!(renewed, "it passed its check before the lapse");
    assert!(!seen.is_ended(late.0), "who was renewed is not given up");
    assert!(granted.new.is_empty(), "its slots are not given away");
    assert_eq!(seen.valid_holders().len(), 3);
    for demand in &held {
        assert!(bench.db().holds(demand).await.unwrap());
    }
    assert!(!bench.db().holds(&waits).await.unwrap());
}

/// The other way round: the lapse is written, and not committed, when the heartbeat comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_meets_its_own_lapse_is_refused() {
    let bench = Bench::new(Store::Postgres).await;
    let (late, other) = (bench.worker().await, bench.worker().await);
    let held = bench.run(late, WINDOW).await;
    turn(&bench, late, entering(&held)).await;
    // As `end_lapsed` writes it, at a moment at which the heartbeat's check still passes: clocks are read row by row.
    let lapse = bench.base.open().await.begin().await.unwrap();
    let sql = "UPDATE worker SET ended_at = 1 WHERE id = $1";
    lapse.execute_raw(sql_with(&*lapse, sql, [late.0.into()])).await.unwrap();
    let beats = bench.base.open().await;
    let heartbeat = tokio::spawn(async move { beats.renew(late, 3_600_000_000).await.unwrap() });
    until_waiting(bench.db(), "transactionid").await;
    lapse.commit().await.unwrap();
    assert!(!in_time("the heartbeat", heartbeat).await.unwrap(), "who was given up hears of it");
    let waits = bench.run(other, WINDOW).await;
    assert_eq!(turn(&bench, other, entering(&waits)).await.new, [waits.run]);
    assert!(!bench.db().holds(&held).await.unwrap());
}

/// A waiter's worker dies inside its window, and another one takes the run over: its place is kept, its window begins anew, and nothing that the
/// dead one left behind takes either away.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_that_is_taken_over_keeps_its_ticket_and_waits_anew() {
    let bench = Bench::new(Store::Postgres).await;
    let (dying, living) = (bench.worker().await, bench.worker().await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bench.run(living, WINDOW).await);
    }
    turn(&bench, living, Wishes { enter: held.clone(), ..Wishes::default() }).await;
    let waits = bench.run(dying, WINDOW).await;
    let behind = bench.run(living, WINDOW).await;
    turn(&bench, dying, entering(&waits)).await;
    turn(&bench, living, entering(&behind)).await;
    let row = |run: i64| {
        let bench = &bench;
        async move { bench.seen().await.waiters.into_iter().find(|row| row.run_id == run).expect("it waits") }
    };
    // Most of its window is over.
    bench.sql("UPDATE pool_waiter SET deadline = deadline - 9000000, since = since - 9000000", []).await;
    let before = row(waits.run.0).await;
    bench.lapse(dying).await;
    turn(&bench, living, Wishes::default()).await;
    let taken = bench.take_over(&waits, living).await;
    let now = bench.db().now().await.unwrap();
    turn(&bench, living, entering(&taken)).await;
    let after = row(waits.run.0).await;
    assert_eq!(
        (after.ticket, after.epoch, after.worker_id),
        (before.ticket, taken.epoch, living.0),
        "its ticket is kept"
    );
    assert!(after.since >= now && after.deadline >= now + 10_000_000, "its window begins anew: {after:?}");
    // What the dead one still wanted is of an epoch that is over.
    turn(&bench, dying, Wishes { leave: vec![waits.clone()], last_chance: vec![waits.clone()], ..Wishes::default() })
        .await;
    assert_eq!(row(waits.run.0).await, after);
    // It is before whoever came later.
    bench.edge(held[0].run).await;
    assert_eq!(turn(&bench, living, Wishes::default()).await.new, [taken.run]);
    assert!(bench.db().holds(&taken).await.unwrap() && !bench.db().holds(&waits).await.unwrap());
    assert_eq!(bench.seen().await.ticket_of(behind.run), Some(before.ticket + 1));
}

/// All slots are held by a worker that died, and the windows of those who wait are shorter than the rest of its lease.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_fails_for_dead_holders() {
    let bench = Bench::new(Store::Postgres).await;
    let bell = Bell::embedded();
    let (dead, living) = (bench.worker().await, bench.worker().await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bench.run(dead, WINDOW).await);
    }
    turn(&bench, dead, Wishes { enter: held, ..Wishes::default() }).await;
    bench.overdue(dead).await;
    let slots = Slots::start(bench.base.open().await, bell, living, LEASE);
    let mut entries = Vec::new();
    for _ in 0..3 {
        entries.push(slots.enter(bench.run(living, Duration::from_millis(100)).await));
    }
    for entry in &mut entries {
        assert!(matches!(in_time("a place", entry.first()).await, Place::Waiting { .. }));
    }
    // Their windows would have been over twenty times.
    let began = bench.db().now().await.unwrap();
    until("twenty windows", PATIENCE, || async {
        let seen = bench.seen().await;
        assert_eq!(seen.waiters.len(), 3, "somebody gave up for a dead holder");
        (bench.db().now().await.unwrap() > began + 2_000_000).then_some(())
    })
    .await;
    bench.lapse(dead).await;
    for entry in &mut entries {
        let place = in_time("a slot", entry.settled()).await;
        assert!(matches!(place, Place::Granted { .. }), "{place:?}");
    }
}

/// Somebody stands still inside a turn, and holds the pool's lock: nobody fails for that either.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_fails_while_no_turn_can_be_taken() {
    let bench = Bench::new(Store::Postgres).await;
    let (holder, living) = (bench.worker().await, bench.worker().await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bench.run(holder, WINDOW).await);
    }
    turn(&bench, holder, Wishes { enter: held.clone(), ..Wishes::default() }).await;
    let slots = Slots::start(bench.base.open().await, Bell::embedded(), living, LEASE);
    let mut entry = slots.enter(bench.run(living, Duration::from_secs(3)).await);
    assert!(matches!(in_time("a place", entry.first()).await, Place::Waiting { .. }));
    let still = bench.base.open().await.begin().await.unwrap();
    still.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = 0").await.unwrap();
    still.lock("pool", "name = $1", POOL).await.unwrap();
    let over = bench.db().now().await.unwrap() + 6_500_000;
    until_true("twice its window", PATIENCE, || async { bench.db().now().await.unwrap() > over }).await;
    still.commit().await.unwrap();
    until_waited(&bench).await;
    bench.edge(held[0].run).await;
    slots.freed(POOL);
    let place = in_time("a slot", entry.settled()).await;
    assert!(matches!(place, Place::Granted { .. }), "{place:?}");
}

/// Somebody took a turn: nobody waits for the pool's lock any more.
async fn until_waited(bench: &Bench) {
    until_true("no lock that is waited for", PATIENCE, || async {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        bench.db().pool().query_one_raw(sql_with(bench.db().pool(), sql, [])).await.unwrap().is_none()
    })
    .await;
}
