//! A flood of requests: each is taken or refused with 429, the process stays as small as it was, and what was taken ends.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use lab::{load::flood, soak};
use serde_json::json;
use tests::{Client, Fleet, Size, slipway};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

const A_SECOND: usize = 1_000;
const SECONDS: usize = 3;
/// The memory that a process has now, in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// The most memory that it ever had, in KiB.
fn peak(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Asks so often for so long, whatever the answers: how many there were of each status.
async fn ask_often(api: &Client, document: &'static str) -> BTreeMap<u16, usize> {
    let mut pace = interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    for number in 0..A_SECOND * SECONDS {
        if number % (A_SECOND / 100) == 0 {
            pace.tick().await;
        }
        let api = api.clone();
        asked.spawn(async move { api.raw(document, json!({})).await.unwrap() });
    }
    let mut counts = BTreeMap::<u16, usize>::new();
    while let Some(answer) = asked.join_next().await {
        let (status, answer) = answer.unwrap();
        *counts.entry(status.as_u16()).or_default() += 1;
        match status.as_u16() {
            200 => assert!(answer.get("errors").is_none(), "{answer:#}"),
            429 => assert_eq!(answer["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{answer:#}"),
            other => panic!("{other}: {answer:#}"),
        }
    }
    counts
}

/// As `slipway soak flood` does it, for a short while.
async fn of_updates(size: soak::Size) {
    let (rate, seconds) = (A_SECOND as u32, SECONDS as u32);
    let (binary, workers) = (slipway::binary(), 2);
    let settings = flood::Settings { binary, size, rate, seconds, workers, keys: 4, key_rate: 5, key_burst: 20 };
    let report = flood::run(&settings, Arc::new(|_: &str| {})).await.unwrap();
    assert_eq!(report.broken(), Vec::<String>::new(), "{report}");
    assert_eq!(report.accepted + report.limited, A_SECOND * SECONDS, "{report}");
    // What was in the buckets, and what flowed into them.
    assert!(report.accepted >= 80 && report.limited > A_SECOND, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_updates_in_a_fleet() {
    of_updates(soak::Size::Fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_updates_in_a_single_process() {
    of_updates(soak::Size::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_everything_at_once() {
    let builder = Fleet::of(Size::Fleet).workers(0).set("SLIPWAY_LOG_FILTER", "warn");
    let builder = builder.set("SLIPWAY_HTTP_REQUESTS_PER_SECOND", 0).set("SLIPWAY_HTTP_KEY_REQUESTS_PER_SECOND", 0);
    let fleet = builder.set("SLIPWAY_HTTP_REQUESTS_AT_ONCE", 16).set("SLIPWAY_HTTP_CONNECTIONS", 4_000).start().await;
    let api = fleet.api.as_ref().unwrap().pid();
    let before = resident(api);
    let counts = ask_often(&fleet.client, "{ infrastructures { nodes { id } } viewer { login } }").await;
    let grown = peak(api).saturating_sub(before);
    assert!(grown < flood::GROWTH, "{grown} KiB more than the {before} KiB before: {counts:?}");
    assert!(counts[&200] > 100, "{counts:?}");
}
