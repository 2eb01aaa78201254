//! A cancel ends an update wherever it is: in line, parked, inside a hook, inside a call to the node, and when its worker is gone. (Of a STUCK one: see
//! `poison`.)

use std::time::Duration;

use engine::{ids::RunId, journal::Status};
use entities::run;
use sandbox::{BundleSpec, Fault, FaultKind, RunningNode, When};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use tests::{Fleet, Size, history, in_time, practice, until, until_true};

use super::{
    ACTIVATE,
    hook::Hook,
    scene::{PATIENCE, soon},
};

/// As long as a worker that sees it may take.
const SEEN: Duration = Duration::from_secs(5);
/// The lease of these workers.
const LEASE: Duration = Duration::from_millis(2_500);

async fn fleet(size: Size, workers: usize) -> (Fleet, RunningNode) {
    let fleet = soon(size).workers(workers).start().await;
    let node = practice::node().await;
    fleet.client.bundle(&BundleSpec::new("CHURN", "v1")).await;
    (fleet, node)
}

async fn deployment(fleet: &Fleet, id: &str, infrastructure: &str) -> String {
    let on_node = id.to_uppercase().replace('-', "_");
    fleet.client.deployment(id, infrastructure, ("CHURN", "v1"), &on_node, json!({})).await;
    fleet.client.start(id).await
}

/// Cancels, and answers what the update says in the end and how long that took by the database's clock.
async fn cancelled(fleet: &Fleet, update: &str) -> (Value, Duration) {
    fleet.client.end("cancelUpdate", update).await;
    let (db, id): (_, RunId) = (fleet.db().await, update.parse().unwrap());
    let ended = history::until_over(&db, id, PATIENCE).await;
    assert_eq!(ended.state.status(), Status::Cancelled, "{}", history::tell(&history::journal(&db, id).await));
    let row = run::Entity::find_by_id(id.0).one(db.pool()).await.unwrap().unwrap();
    let took = row.ended_at.unwrap() - row.cancel_requested_at.unwrap();
    let told = fleet.client.update(update).await;
    assert_eq!(told["failure"]["code"], "CANCELLED");
    assert!(told["cancelRequestedBy"] == "admin");
    (told, Duration::from_micros(took.max(0).unsigned_abs()))
}

fn message(update: &Value) -> &str {
    update["failure"]["message"].as_str().unwrap()
}

/// In line for a slot, in line behind an earlier update, and inside the hook that everybody waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_line_and_inside_a_hook() {
    for size in [Size::Fleet, Size::Embedded] {
        is_in_line_and_inside_a_hook(size).await;
    }
}

async fn is_in_line_and_inside_a_hook(size: Size) {
    let (fleet, node) = fleet(size, 2).await;
    let api = &fleet.client;
    let hook = Hook::new(fleet.scratch().path(), "held");
    api.infrastructure("test", &node, json!({ "preHookWaitMs": 600_000 })).await;
    api.set_hooks("test", "PRE", hook.input(None)).await;
    api.ask("mutation { setHookLimit(limit: 1) { pool { limit } refusals { code } } }", json!({})).await;
    let holds = deployment(&fleet, "holds", "test").await;
    let effect = hook.begun(1).await;
    let behind = api.start("holds").await;
    let waits = deployment(&fleet, "waits", "test").await;
    api.until_update(&waits, "a wait for a slot", PATIENCE, |update| update["waitingOn"]["kind"] == "SLOT").await;

    let (_, took) = cancelled(&fleet, &waits).await;
    assert!(took < SEEN, "in line for a slot: {took:?}");
    let db = fleet.db().await;
    until_true("an empty line", PATIENCE, || async { history::pool(&db, "hooks").await.2.is_empty() }).await;
    let (told, took) = cancelled(&fleet, &behind).await;
    assert!(took < Duration::from_secs(1), "nobody holds it: {took:?}");
    assert!(message(&told).contains("nothing was changed"), "{}", message(&told));

    assert!(!effect.processes().is_empty());
    let (told, took) = cancelled(&fleet, &holds).await;
    assert!(took < SEEN, "inside a hook: {took:?}");
    assert_eq!(effect.processes(), Vec::<String>::new(), "its end is after the end of all its processes");
    assert!(message(&told).contains("pre_hooks/1"), "what may have happened is said: {}", message(&told));
    assert_eq!(hook.effects().len(), 1);
}

/// Parked until its next attempt: nobody holds it, so it ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parked() {
    for size in [Size::Fleet, Size::Embedded] {
        is_parked(size).await;
    }
}

async fn is_parked(size: Size) {
    let (fleet, node) = fleet(size, 2).await;
    let later = json!({"stepPolicies": [{"kind": "push_bundle", "retry": {"maxAttempts": 5, "initialMs": 600_000, "capMs": 600_000}}]});
    fleet.client.infrastructure("test", &node, later).await;
    let status = FaultKind::Status { status: 503, error_type: None, message: None, retry_after: None };
    node.arm(Fault::on("POST", "/projectsFromBundle", status.clone()).for_ever()).unwrap();
    node.arm(Fault::on("POST", "/projects", status).for_ever()).unwrap();
    let update = deployment(&fleet, "parked", "test").await;
    fleet
        .client
        .until_update(&update, "a wait for its next attempt", PATIENCE, |update| {
            update["waitingOn"]["kind"] == "NEXT_ATTEMPT"
        })
        .await;
    let (told, took) = cancelled(&fleet, &update).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(message(&told).contains("push_bundle"), "what may have happened is said: {}", message(&told));
}

/// Inside a call that changes the node, whose answer does not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn inside_a_call() {
    for size in [Size::Fleet, Size::Embedded] {
        is_inside_a_call(size).await;
    }
}

async fn is_inside_a_call(size: Size) {
    let (fleet, node) = fleet(size, 2).await;
    fleet.client.infrastructure("test", &node, json!({ "settleMs": 1_000 })).await;
    let held = node.arm(Fault::on("POST", ACTIVATE, FaultKind::Hold { when: When::After })).unwrap();
    let update = deployment(&fleet, "called", "test").await;
    in_time("the activation", held.reached()).await;
    let (told, took) = cancelled(&fleet, &update).await;
    assert!(took < SEEN, "{took:?}");
    assert!(message(&told).contains("activate"), "what may have happened is said: {}", message(&told));
    held.disarm();
}

/// Its worker was killed a moment before, inside a hook: whoever finds the lapse ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn its_worker_is_gone() {
    let (fleet, node) = fleet(Size::Fleet, 2).await;
    let api = &fleet.client;
    let hook = Hook::new(fleet.scratch().path(), "held");
    api.infrastructure("test", &node, json!({})).await;
    api.set_hooks("test", "PRE", hook.input(None)).await;
    let update = deployment(&fleet, "gone", "test").await;
    let effect = hook.begun(1).await;
    let db = fleet.db().await;
    let name = until("its worker", PATIENCE, || async {
        let holder = history::load(&db, update.parse().unwrap()).await.row.worker_id?;
        let row = entities::worker::Entity::find_by_id(holder).one(db.pool()).await.unwrap()?;
        Some(row.name)
    })
    .await;
    let place: usize = name.strip_prefix("worker-").unwrap().parse::<usize>().unwrap() - 1;
    fleet.workers[place].kill().await;
    let (_, took) = cancelled(&fleet, &update).await;
    assert!(took < LEASE + SEEN, "{took:?}");
    assert_eq!(effect.processes(), Vec::<String>::new());
    assert_eq!(hook.effects().len(), 1, "it is not run again");
}

/// The only worker is killed inside a hook before, a hook after, and a call that changes the node; and nobody comes in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_workers_are_gone() {
    let (fleet, node) = fleet(Size::Fleet, 1).await;
    let api = &fleet.client;
    let (before, after) = (Hook::new(fleet.scratch().path(), "before"), Hook::new(fleet.scratch().path(), "after"));
    for (id, phase, hook) in
        [("before", "PRE", Some(&before)), ("after", "POST", Some(&after)), ("called", "PRE", None)]
    {
        api.infrastructure(id, &node, json!({ "settleMs": 1_000 })).await;
        if let Some(hook) = hook {
            api.set_hooks(id, phase, hook.input(None)).await;
        }
    }
    let in_pre_hook = deployment(&fleet, "in-pre-hook", "before").await;
    let first = before.begun(1).await;
    let behind = api.start("in-pre-hook").await;
    let in_post_hook = deployment(&fleet, "in-post-hook", "after").await;
    let second = after.begun(1).await;
    let held = node.arm(Fault::on("POST", ACTIVATE, FaultKind::Hold { when: When::After })).unwrap();
    let in_call = deployment(&fleet, "in-call", "called").await;
    in_time("the activation", held.reached()).await;
    fleet.workers[0].kill().await;

    // Asked for before and after the lapse.
    api.end("cancelUpdate", &in_post_hook).await;
    for (update, says) in
        [(&in_pre_hook, "in step pre_hooks/1. What its hook had done by then stands"), (&in_call, "look there")]
    {
        let (told, took) = cancelled(&fleet, update).await;
        assert!(took < LEASE + SEEN, "{took:?}");
        assert!(message(&told).contains(says), "{}", message(&told));
    }
    let (_, took) = cancelled(&fleet, &behind).await;
    assert!(took < Duration::from_secs(1), "nobody holds it: {took:?}");
    let (db, id): (_, RunId) = (fleet.db().await, in_post_hook.parse().unwrap());
    history::until_over(&db, id, PATIENCE).await;
    let told = api.update(&in_post_hook).await;
    assert_eq!((told["status"].as_str(), told["failure"]["code"].as_str()), (Some("FAILED"), Some("OUTCOME_UNKNOWN")));
    let row = run::Entity::find_by_id(id.0).one(db.pool()).await.unwrap().unwrap();
    let took = Duration::from_micros((row.ended_at.unwrap() - row.cancel_requested_at.unwrap()).unsigned_abs());
    assert!(took < LEASE + SEEN, "{took:?}");
    for effect in [first, second] {
        assert_eq!(effect.processes(), Vec::<String>::new());
    }
    held.disarm();
}
