//! Workers whose own clocks are ten minutes off, one ahead and one behind: leases, windows and waits are of the database's clock, and nobody notices.

use std::{process::Command, time::Duration};

use engine::journal::{Event, Kind, Status};
use tests::{Size, history};

use super::scene::{PATIENCE, STEPS, Scene, soon};

/// So far off, in seconds.
const OFF_S: i64 = 600;
/// Lease, sweep and a second.
const BOUND_US: i64 = 2_500_000 + 300_000 + 1_000_000;
/// How long a hook before waits for a slot here, in milliseconds.
const WINDOW_MS: i64 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_whose_clocks_are_ten_minutes_off() {
    let mut scene = Scene::new(soon(Size::Fleet), None).await;
    let library = scene.fleet.scratch().at("skew.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/it/kill/skew.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &library, source]).status().unwrap();
    assert!(built.success());
    scene.fleet.set("LD_PRELOAD", &library);
    for off in [OFF_S, -OFF_S] {
        scene.fleet.set("SKEW_S", off);
        scene.start_workers(1).await;
    }
    for (worker, off) in scene.fleet.workers.iter().zip([OFF_S, -OFF_S]) {
        let says = said_at_us(&worker.process().log()) - scene.db.now().await.unwrap();
        assert!((says / 1_000_000 - off).abs() < 60, "its clock is off by {says} µs instead of {off} s");
    }

    // Whichever of them has it is killed: the other one takes over, in time by the database's clock.
    let run = scene.request(None).await;
    scene.pre.begun(1).await;
    let (victim, _) = scene.holder(run, STEPS[1]).await;
    let killed = scene.db.now().await.unwrap();
    scene.worker(victim).kill().await;
    scene.taken_over(run, 2).await;
    let journal = history::journal(&scene.db, run).await;
    let took = journal.iter().find(|event| event.epoch == 2).unwrap().at - killed;
    assert!((0..BOUND_US).contains(&took), "{took} µs\n{}", history::tell(&journal));

    // The hook holds the only slot: one more waits for its window, no longer and no shorter.
    let api = &scene.fleet.client;
    api.ask("mutation { setHookLimit(limit: 1) { pool { limit } refusals { code } } }", serde_json::json!({})).await;
    api.infrastructure("narrow", &scene.node, serde_json::json!({ "preHookWaitMs": WINDOW_MS })).await;
    api.set_hooks("narrow", "PRE", scene.pre.input(None)).await;
    api.deployment("waits", "narrow", ("CHURN", "v1"), "WAITS", serde_json::json!({})).await;
    let waits = api.start("waits").await.parse().unwrap();
    history::until_over(&scene.db, waits, PATIENCE).await;
    let journal = history::journal(&scene.db, waits).await;
    // It stands in line before its step's second event is written: the window began after the first one.
    let waiting = journal.iter().find(|event| matches!(event.kind, Kind::SlotWaiting { .. })).unwrap();
    let began = |event: &&Event| event.step == waiting.step && event.kind == Kind::StepStarted;
    let since = journal.iter().find(began).unwrap().at;
    let until = journal.iter().find(|event| matches!(event.kind, Kind::SlotTimedOut { .. })).unwrap().at;
    let waited = Duration::from_micros((until - since).unsigned_abs());
    let window = Duration::from_millis(WINDOW_MS.unsigned_abs());
    assert!((window..window * 3).contains(&waited), "{waited:?}\n{}", history::tell(&journal));

    scene.pre.let_go();
    scene.post.let_go();
    let journal = scene.ends(run, Status::Succeeded).await;
    assert!(journal.windows(2).all(|pair| pair[0].at <= pair[1].at), "{}", history::tell(&journal));
}

/// When the first line of a log was said, by the clock of who said it.
fn said_at_us(log: &str) -> i64 {
    let stamp = log.split_whitespace().find_map(|word| word.parse::<jiff::Timestamp>().ok());
    stamp.expect("a line with its time").as_microsecond()
}
