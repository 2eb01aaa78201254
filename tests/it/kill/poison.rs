//! An update that takes its workers with it: after the third it is STUCK, whatever its policy, and a human's word ends it. Workers that come back
//! were not taken.

use engine::journal::{Event, Kind, Status};
use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::{Size, history, practice, requests::quoted, until_true};

use super::scene::{PATIENCE, STEPS, Scene, holders, soon};

/// So many workers vanish within one attempt before nobody tries again.
const LIVES: usize = 3;
const UPDATES: [&str; 3] = ["retried", "abandoned", "cancelled"];

/// What the hooks' attempts wrote: a line each.
fn begun(path: &str) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

async fn until_begun(path: &str, wanted: usize) {
    until_true(&format!("{wanted} attempts"), PATIENCE, || async { begun(path) == wanted }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_update_that_takes_three_workers_is_stuck() {
    for size in [Size::Fleet, Size::Embedded] {
        takes_three_workers(size).await;
    }
}

async fn takes_three_workers(size: Size) {
    let mut fleet = soon(size).start().await;
    let node = practice::node().await;
    let mut api = fleet.client.clone();
    let (begins, go) = (fleet.scratch().at("begins"), fleet.scratch().at("go"));
    let code = format!(
        "import os, time\ndef execute(deployment_id, **kwargs):\n    with open({}, 'a') as file:\n        file.write(deployment_id + '\\n')\n    \
         while not os.path.exists({}):\n        time.sleep(0.02)\n    return HookResult.success('')\n",
        quoted(&begins),
        quoted(&go)
    );
    api.infrastructure("test", &node, json!({ "preHookWaitMs": 600_000 })).await;
    api.set_hooks("test", "PRE", json!([{ "name": "poison", "code": code, "onInterrupt": "RERUN" }])).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    let mut runs = Vec::new();
    for id in UPDATES {
        api.deployment(id, "test", ("CHURN", "v1"), &id.to_uppercase(), json!({})).await;
        runs.push(api.start(id).await);
    }

    // A worker that gives them back, as at a restart, does not count.
    if size == Size::Fleet {
        fleet.start_worker().await;
    }
    until_begun(&begins, UPDATES.len()).await;
    fleet.workers[0].terminate();
    until_true("draining", PATIENCE, || async { fleet.workers[0].process().log().contains("draining") }).await;
    fleet.workers[0].terminate();
    fleet.workers[0].process().exited(PATIENCE).await;
    // Three that never report again do.
    for life in 1..=LIVES {
        fleet.start_worker().await;
        until_begun(&begins, UPDATES.len() * (life + 1)).await;
        fleet.workers[life].kill().await;
    }
    fleet.start_worker().await;
    api.clone_from(&fleet.client);
    let db = fleet.db().await;
    for run in &runs {
        let stuck = history::until_over(&db, run.parse().unwrap(), PATIENCE).await;
        let journal = history::journal(&db, run.parse().unwrap()).await;
        assert_eq!(stuck.state.status(), Status::Stuck, "{}", history::tell(&journal));
        let failure = stuck.state.stopped.expect("why");
        assert_eq!(failure.code.as_str(), "WORKERS_LOST");
        assert!(failure.message.contains("pre_hooks/1"), "{}", failure.message);
        let lapsed = journal.iter().filter(|event| matches!(event.kind, Kind::Claimed { lapsed: true, .. })).count();
        let given_back = journal.iter().filter(|event| matches!(event.kind, Kind::LeaseReleased { .. })).count();
        assert_eq!((lapsed, given_back), (LIVES, 1), "{}", history::tell(&journal));
    }
    assert_eq!(begun(&begins), UPDATES.len() * (LIVES + 1), "nobody tried it again");
    assert!(fleet.workers[LIVES + 1].is_ready().await, "the last worker lives");
    let refused = api
        .refused("mutation { startUpdate(deploymentId: \"retried\") { refusals { code field message } } }", json!({}))
        .await;
    assert_eq!(refused[0].0, "DEPLOYMENT_STUCK");

    // An operator's word.
    std::fs::write(&go, "").unwrap();
    let again = api.retry(&runs[0]).await;
    assert_eq!(api.over(&again).await["status"], "SUCCEEDED");
    assert_eq!(api.update(&runs[0]).await["status"], "FAILED");
    api.end("abandonUpdate", &runs[1]).await;
    api.end("cancelUpdate", &runs[2]).await;
    for (run, status, word) in [(&runs[0], "FAILED", true), (&runs[1], "FAILED", true), (&runs[2], "CANCELLED", false)]
    {
        let update = api.update(run).await;
        assert_eq!(update["status"], status, "{update:#}");
        assert!(update["failure"]["message"].as_str().is_some_and(|text| text.contains("admin")), "{update:#}");
        let events = api.journal(run).await;
        let said = events.iter().find(|event| event["kind"] == if word { "Abandoned" } else { "CancelRequested" });
        assert_eq!(said.map(|event| &event["by"]), Some(&Value::from("admin")), "who said so is recorded: {events:#?}");
    }
    for id in &UPDATES[1..] {
        assert_eq!(api.run(id, "SUCCEEDED").await["number"], 2, "{id} is free again");
    }
}

/// Each worker is paused until another one has taken over, then woken: so many in one attempt, and none was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_that_come_back_are_not_counted() {
    let mut scene = Scene::new(soon(Size::Fleet), None).await;
    let run = scene.request(None).await;
    scene.start_workers(2).await;
    for life in 1..=LIVES {
        scene.pre.begun(life).await;
        let (victim, before) = scene.holder(run, STEPS[1]).await;
        scene.worker(victim).pause();
        scene.taken_over(run, life as i64 + 1).await;
        scene.worker(victim).wake();
        scene.registered_anew(&before).await;
    }
    scene.pre.begun(LIVES + 1).await;
    scene.pre.let_go();
    scene.post.let_go();
    let journal = scene.ends(run, Status::Succeeded).await;
    let lapsed = journal.iter().filter(|event| matches!(event.kind, Kind::Claimed { lapsed: true, .. })).count();
    assert_eq!((lapsed, holders(&journal).len()), (LIVES, LIVES + 1), "{}", history::tell(&journal));
    let begins = |event: &&Event| event.step == Some(1) && matches!(event.kind, Kind::StepStarted);
    assert_eq!(journal.iter().filter(begins).count(), 1, "all within one attempt: {}", history::tell(&journal));
    // The one that was paused last had not come back when its run was taken over; those before it had.
    let known = journal.iter().flat_map(|event| match &event.kind {
        Kind::Claimed { came_back, .. } => came_back.clone(),
        _ => Vec::new(),
    });
    assert_eq!(known.collect::<Vec<_>>(), holders(&journal)[..LIVES - 1], "{}", history::tell(&journal));
}
