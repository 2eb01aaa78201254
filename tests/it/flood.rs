//! A flood of requests: each is taken or refused with 429, the process stays as small as it was, and what was taken ends.

use std::{collections::BTreeMap, fs, time::Duration};

use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::{Client, Fleet, Size, client, history, practice};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

const A_SECOND: usize = 1_000;
const SECONDS: usize = 3;
/// What an API process may grow by while it is flooded, in KiB. (The whole of a debug build's.)
const GROWTH: u64 = 192 << 10;

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

/// Asks so often for so long, whatever the answers: how many there were of each status, and what was answered well.
async fn flood(api: &Client, document: impl Fn(usize) -> String) -> (BTreeMap<u16, usize>, Vec<Value>) {
    let mut pace = interval(Duration::from_millis(10));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    for number in 0..A_SECOND * SECONDS {
        if number % (A_SECOND / 100) == 0 {
            pace.tick().await;
        }
        let (api, document) = (api.clone(), document(number));
        asked.spawn(async move { api.raw(&document, json!({})).await.unwrap() });
    }
    let (mut counts, mut taken) = (BTreeMap::<u16, usize>::new(), Vec::new());
    while let Some(answer) = asked.join_next().await {
        let (status, answer) = answer.unwrap();
        *counts.entry(status.as_u16()).or_default() += 1;
        match status.as_u16() {
            200 => {
                assert!(answer.get("errors").is_none(), "{answer:#}");
                taken.push(answer);
            }
            429 => assert_eq!(answer["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{answer:#}"),
            other => panic!("{other}: {answer:#}"),
        }
    }
    (counts, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_mutations() {
    let builder = Fleet::of(Size::Fleet).set("SLIPWAY_LOG_FILTER", "warn");
    let builder = builder
        .set("SLIPWAY_HTTP_KEY_REQUESTS_PER_SECOND", 10)
        .set("SLIPWAY_HTTP_KEY_BURST", 40)
        .set("SLIPWAY_HTTP_REQUESTS_AT_ONCE", 32);
    let (fleet, node) = (builder.start().await, practice::node().await);
    fleet.client.infrastructure("production", &node, json!({})).await;
    fleet.client.bundle(&BundleSpec::new("CHURN", "v1")).await;
    for number in 0..10 {
        let id = format!("churn-{number}");
        fleet.client.deployment(&id, "production", ("CHURN", "v1"), &id.to_uppercase(), json!({})).await;
    }
    let api = fleet.api.as_ref().unwrap().pid();
    let before = resident(api);
    let start = |number: usize| {
        format!(
            "mutation {{ startUpdate(deploymentId: \"churn-{}\") {{ update {{ id }} refusals {{ code }} }} }}",
            number % 10
        )
    };
    let (counts, taken) = flood(&fleet.client, start).await;
    let grown = peak(api).saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB more than the {before} KiB before: {counts:?}");
    // The bucket and what flowed into it, and a little for a slow machine.
    assert!((40..400).contains(&taken.len()) && counts[&429] > 2_500, "{counts:?}");
    let refused = client::http().post(format!("{}/graphql", fleet.client.url())).bearer_auth(fleet.client.key());
    let many = json!({"query": format!("mutation {{ {} }}", (0..41).map(|n| format!("a{n}: deleteDeployment(id: \"none\") {{ refusals {{ code }} }} ")).collect::<String>())});
    let refused = refused.json(&many).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "1"));

    let db = fleet.db().await;
    for answer in &taken {
        let update = answer["data"]["startUpdate"]["update"]["id"].as_str().unwrap();
        let ended = history::until_over(&db, update.parse().unwrap(), Duration::from_secs(180)).await;
        assert!(ended.state.status().is_final(), "{:?}", ended.state.status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_everything_at_once() {
    let builder = Fleet::of(Size::Fleet).workers(0).set("SLIPWAY_LOG_FILTER", "warn");
    let builder = builder.set("SLIPWAY_HTTP_REQUESTS_PER_SECOND", 0).set("SLIPWAY_HTTP_KEY_REQUESTS_PER_SECOND", 0);
    let fleet = builder.set("SLIPWAY_HTTP_REQUESTS_AT_ONCE", 16).set("SLIPWAY_HTTP_CONNECTIONS", 4_000).start().await;
    let api = fleet.api.as_ref().unwrap().pid();
    let before = resident(api);
    let (counts, _) =
        flood(&fleet.client, |_| "{ infrastructures { nodes { id } } viewer { login } }".to_owned()).await;
    let grown = peak(api).saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB more than the {before} KiB before: {counts:?}");
    assert!(counts[&200] > 100, "{counts:?}");
}
