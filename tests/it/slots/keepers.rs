//! What a step sees: several keepers, each with a database pool of its own, as several processes have it.

use std::time::Duration;

use engine::{
    bell::Bell,
    ids::WorkerId,
    slots::{Demand, Entry, Place, Slots},
};
use tests::{PATIENCE, Store, until, until_true};

use super::bench::{Bench, LEASE, POOL};

const LONG: Duration = Duration::from_secs(600);

/// A worker with its keeper.
struct Process {
    worker: WorkerId,
    slots: Slots,
}

async fn process(bench: &Bench, bell: &Bell) -> Process {
    let worker = bench.worker().await;
    Process { worker, slots: Slots::start(bench.base.open().await, bell.clone(), worker, LEASE) }
}

async fn in_line(process: &Process, bench: &Bench, wait: Duration) -> (Demand, Entry) {
    let demand = bench.run(process.worker, wait).await;
    let entry = process.slots.enter(demand.clone());
    (demand, entry)
}

/// A contender that has its slot.
async fn holding(process: &Process, bench: &Bench) -> (Demand, Entry) {
    let (demand, mut entry) = in_line(process, bench, LONG).await;
    assert!(matches!(settled(&mut entry).await, Place::Granted { .. }));
    assert!(process.slots.holds(&demand).await.unwrap());
    (demand, entry)
}

async fn settled(entry: &mut Entry) -> Place {
    tokio::time::timeout(PATIENCE, entry.settled()).await.expect("a place in time")
}

/// Waits until it stands in line.
async fn waiting(entry: &mut Entry) {
    let place = tokio::time::timeout(PATIENCE, entry.first()).await.expect("a place in time");
    assert!(matches!(place, Place::Waiting { .. }), "{place:?}");
}

async fn in_order(store: Store) {
    let bench = Bench::new(store).await;
    let bell = Bell::embedded();
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(process(&bench, &bell).await);
    }
    let mut line = Vec::new();
    for number in 0..30 {
        let process = &processes[number % processes.len()];
        let (demand, entry) = in_line(process, &bench, LONG).await;
        line.push((demand, entry, number % processes.len()));
    }
    let mut highest = 0;
    let mut served = 0;
    loop {
        // All slots are taken, or nobody is left to take one.
        let seen = until("grants", PATIENCE, || async {
            let seen = bench.seen().await;
            let rest = 30 - served;
            (seen.valid_holders().len() == rest.min(3)).then_some(seen)
        })
        .await;
        assert!(seen.holders.len() <= 3);
        let Some(first) = seen.valid_holders().first().map(|row| (*row).clone()) else { break };
        for row in seen.valid_holders() {
            assert!(row.ticket > highest, "tickets are served in order");
        }
        highest = first.ticket;
        served += 1;
        let place = line.iter().position(|(demand, ..)| demand.run.0 == first.run_id).unwrap();
        let (demand, mut entry, process) = line.remove(place);
        assert_eq!(settled(&mut entry).await, Place::Granted { ticket: first.ticket });
        assert!(processes[process].slots.holds(&demand).await.unwrap());
        bench.edge(demand.run).await;
        assert!(!processes[process].slots.holds(&demand).await.unwrap(), "the edge is the release");
        processes[process].slots.freed(POOL);
    }
    assert_eq!(served, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_on_sqlite() {
    in_order(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_on_postgres() {
    in_order(Store::Postgres).await;
}

async fn lapses(store: Store) {
    let bench = Bench::new(store).await;
    let bell = Bell::embedded();
    let (dying, living) = (process(&bench, &bell).await, process(&bench, &bell).await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(holding(&dying, &bench).await);
    }
    let (waits, mut waiter) = in_line(&dying, &bench, LONG).await;
    waiting(&mut waiter).await;
    let (_, mut behind) = in_line(&living, &bench, LONG).await;
    waiting(&mut behind).await;
    let ticket = bench.seen().await.ticket_of(waits.run).unwrap();
    bench.lapse(dying.worker).await;
    // Whoever looks next ends the lapsed worker, and the living get its slots; its own waiter does not.
    assert!(matches!(settled(&mut behind).await, Place::Granted { .. }));
    let seen = bench.seen().await;
    assert!(seen.is_ended(dying.worker.0));
    assert_eq!((seen.valid_holders().len(), seen.holders.len()), (1, 1));
    assert!(!dying.slots.holds(&held[0].0).await.unwrap(), "asked again before a hook is spawned");
    // A takeover keeps the ticket, and is before whoever came later.
    let taken = bench.take_over(&waits, living.worker).await;
    let mut entry = living.slots.enter(taken.clone());
    assert_eq!(settled(&mut entry).await, Place::Granted { ticket });
    assert!(living.slots.holds(&taken).await.unwrap());
    // The one that is gone for good never gets a word that counts.
    assert!(!dying.slots.holds(&waits).await.unwrap());
    drop(waiter);
    until_true("the right holders", PATIENCE, || async {
        let seen = bench.seen().await;
        seen.valid_holders().len() == 2 && seen.holders.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lapse_frees_and_a_takeover_keeps_its_ticket_on_sqlite() {
    lapses(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lapse_frees_and_a_takeover_keeps_its_ticket_on_postgres() {
    lapses(Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_ends() {
    let bench = Bench::new(Store::Sqlite).await;
    let bell = Bell::embedded();
    let (one, two) = (process(&bench, &bell).await, process(&bench, &bell).await);
    let mut runs = Vec::new();
    let mut held = Vec::new();
    for _ in 0..3 {
        let (demand, entry) = holding(&one, &bench).await;
        runs.push(demand.run);
        held.push(entry);
    }
    let window = Duration::from_millis(300);
    let (demand, mut entry) = in_line(&two, &bench, window).await;
    let Place::TimedOut { waited, holders } = settled(&mut entry).await else { panic!("no slot was free") };
    assert!(waited >= window && waited < PATIENCE, "{waited:?}");
    assert_eq!(holders, runs, "who held the slots is told");
    assert_eq!(bench.seen().await.ticket_of(demand.run), None);
    // An attempt that gives up leaves the line.
    let (demand, mut entry) = in_line(&two, &bench, LONG).await;
    waiting(&mut entry).await;
    drop(entry);
    until_true("an empty line", PATIENCE, || async { bench.seen().await.ticket_of(demand.run).is_none() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_without_any_patience_is_told_at_once() {
    let bench = Bench::new(Store::Sqlite).await;
    let process = process(&bench, &Bell::embedded()).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let (_, mut entry) = in_line(&process, &bench, Duration::ZERO).await;
        assert!(matches!(settled(&mut entry).await, Place::Granted { .. }), "a free slot needs no patience");
        held.push(entry);
    }
    let (_, mut entry) = in_line(&process, &bench, Duration::ZERO).await;
    assert!(matches!(settled(&mut entry).await, Place::TimedOut { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_stands_still_while_a_holders_worker_is_overdue() {
    let bench = Bench::new(Store::Sqlite).await;
    let bell = Bell::embedded();
    let (silent, other) = (process(&bench, &bell).await, process(&bench, &bell).await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(holding(&silent, &bench).await);
    }
    bench.overdue(silent.worker).await;
    let (demand, mut entry) = in_line(&other, &bench, Duration::from_millis(200)).await;
    waiting(&mut entry).await;
    let deadline = || async {
        let seen = bench.seen().await;
        seen.waiters.iter().find(|row| row.run_id == demand.run.0).map(|row| row.deadline)
    };
    let first = deadline().await.expect("it waits");
    // Ten windows later it still waits.
    until_true("a deadline that moved", PATIENCE, || async { deadline().await.expect("it waits") > first + 2_000_000 })
        .await;
    // The silent one is heard of again: now the window runs down.
    bench.healthy(silent.worker).await;
    assert!(matches!(settled(&mut entry).await, Place::TimedOut { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_higher_limit_is_used_at_the_next_look() {
    let bench = Bench::new(Store::Sqlite).await;
    let process = process(&bench, &Bell::embedded()).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(holding(&process, &bench).await);
    }
    let (_, mut entry) = in_line(&process, &bench, LONG).await;
    waiting(&mut entry).await;
    bench.sql("UPDATE pool SET slot_limit = 4", []).await;
    assert!(matches!(settled(&mut entry).await, Place::Granted { .. }));
}
