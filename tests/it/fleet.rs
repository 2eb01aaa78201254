//! Two workers as two processes, and a hundred updates at once.

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    journal::{Event, Kind, Status},
    runs::due,
};
use futures_util::{StreamExt, stream};
use sandbox::BundleSpec;
use serde_json::json;
use tests::{Base, Fleet, Size, Store, history, in_time, practice};

const DEPLOYMENTS: usize = 100;
/// Deployments that are asked for twice.
const TWICE: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_deployments_end_and_none_twice() {
    // All of them come at once, and on a busy machine none is to wait in line for so long that it is turned away.
    let builder = Fleet::of(Size::Fleet).set("SLIPWAY_LOG_FILTER", "warn");
    let fleet = builder.set("SLIPWAY_HTTP_REQUESTS_AT_ONCE", DEPLOYMENTS).start().await;
    let node = practice::node().await;
    let api = &fleet.client;
    api.infrastructure("production", &node, json!({})).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    api.bundle(&BundleSpec::new("CHURN", "v2")).await;
    let ids: Vec<String> = (0..DEPLOYMENTS).map(|number| format!("churn-{number}")).collect();
    let key = |number: usize| format!("P{number}");
    stream::iter(0..DEPLOYMENTS)
        .for_each_concurrent(8, |number| {
            let id = &ids[number];
            async move {
                api.deployment(id, "production", ("CHURN", "v1"), &key(number), json!({})).await;
            }
        })
        .await;

    let start = |id: &str| {
        let id = id.to_owned();
        async move { (id.clone(), api.start(&id).await) }
    };
    let first: Vec<(String, String)> =
        stream::iter(&ids).map(|id| start(id)).buffer_unordered(DEPLOYMENTS).collect().await;
    let second: Vec<(String, String)> =
        stream::iter(&ids[..TWICE]).map(|id| start(id)).buffer_unordered(DEPLOYMENTS).collect().await;

    let db = fleet.db().await;
    let mut workers = BTreeSet::new();
    let mut runs: BTreeMap<String, Vec<Vec<Event>>> = BTreeMap::new();
    for (id, update) in first.iter().chain(&second) {
        let run = update.parse().unwrap();
        let ended = history::until_over(&db, run, tests::PATIENCE).await;
        let journal = history::journal(&db, run).await;
        assert_eq!(ended.state.status(), Status::Succeeded, "{id}:\n{}", history::tell(&journal));
        once(&journal);
        let claims = journal.iter().filter_map(|event| match event.kind {
            Kind::Claimed { worker, lapsed, .. } => Some((worker, lapsed)),
            _ => None,
        });
        for (worker, lapsed) in claims {
            assert!(!lapsed, "{id}:\n{}", history::tell(&journal));
            workers.insert(worker);
        }
        runs.entry(id.clone()).or_default().push(journal);
    }
    assert_eq!(workers.len(), 2, "both workers helped");
    // One at a time per deployment, in order of request.
    for (id, runs) in &runs {
        let [first, second] = &runs[..] else { continue };
        let (end, begin) =
            (first.last().unwrap(), second.iter().find(|event| matches!(event.kind, Kind::Claimed { .. })).unwrap());
        assert!(end.at <= begin.at, "{id}:\n{}\n{}", history::tell(first), history::tell(second));
    }

    // The node was asked for each effect once, also by the second updates' imports, which it had.
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for call in node.calls() {
        let effect = ["/importFromStream", "/projectsFromBundle", "/actions/preload", "/actions/activate"];
        if call.method == "POST"
            && (effect.iter().any(|effect| call.path.ends_with(effect)) || call.path == "/projects")
        {
            *asked.entry(call.path).or_default() += 1;
        }
    }
    for number in 0..DEPLOYMENTS {
        let of = |rest: &str| asked.remove(&format!("/projects/{}/bundles/imported/{rest}", key(number))).unwrap_or(0);
        let mut of = of;
        assert_eq!(of("actions/importFromStream"), 1, "{}", key(number));
        let updates = if number < TWICE { 2 } else { 1 };
        assert_eq!((of("v1/actions/preload"), of("v1/actions/activate")), (updates, updates), "{}", key(number));
        let project = &node.snapshot()["projects"][key(number)];
        assert_eq!((&project["activeBundle"], project["bundles"].as_array().map(Vec::len)), (&json!("v1"), Some(1)));
    }
    assert_eq!(asked, BTreeMap::from([("/projects".to_owned(), DEPLOYMENTS)]));
    assert_eq!(fleet.logs().matches("ERROR").count(), 0, "{}", fleet.logs());
}

/// No step begins twice, and none is recorded twice.
fn once(journal: &[Event]) {
    let mut seen = BTreeSet::new();
    for event in journal {
        if matches!(event.kind, Kind::StepStarted | Kind::StepSucceeded { .. }) {
            assert!(seen.insert((event.step, event.kind.name())), "{}", history::tell(journal));
        }
        assert!(!matches!(event.kind, Kind::StepFailed { .. }), "{}", history::tell(journal));
    }
    let succeeded = seen.iter().filter(|(_, name)| *name == "StepSucceeded").count();
    assert_eq!(succeeded, 6, "{}", history::tell(journal));
    if journal.iter().enumerate().any(|(at, event)| event.seq != at as i64 + 1) {
        panic!("a gap:\n{}", history::tell(journal));
    }
}

/// As a worker that is paused in the middle of a sweep: the others must not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_stands_still_in_a_transaction_loses_it() {
    let base = Base::new(Store::Postgres).await;
    let other = base.open().await;
    let still = base.db.begin().await.unwrap();
    assert!(due::take_chore(&still, "sweep", 0).await.unwrap());
    let sweep = other.begin().await.unwrap();
    assert!(in_time("the lock of a sweep", due::take_chore(&sweep, "sweep", 0)).await.unwrap());
    sweep.commit().await.unwrap();
    assert!(still.commit().await.is_err(), "its session was ended");
}
