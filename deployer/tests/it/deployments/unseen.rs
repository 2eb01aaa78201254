//! Cancels that no worker is left to see.

use std::time::{Duration, Instant};

use deployer::updates::{self, Unseen};
use engine::{
    failure::{Code, Failure},
    ids::RunId,
    journal::{Kind, NewEvent, Status},
};
use serde_json::json;

use crate::deployments::support::{World, code, world};

/// Longer than a worker may take to come.
const LATER: Duration = Duration::from_secs(3);
/// `check_policy`, `validate_remap`, `push_bundle`, then this.
const ACTIVATE: usize = 3;

async fn status(world: &World, run: RunId) -> Status {
    updates::get(&world.deployer, &world.root, run).await.unwrap().unwrap().status
}

#[tokio::test]
async fn updates_that_nobody_holds_end_and_stuck_ones_wait_for_a_word() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let mut runs = Vec::new();
    for (id, deployed) in [("broken", "A"), ("stuck", "B"), ("early", "C"), ("midway", "D")] {
        world.deployment(id, deployed).await;
        runs.push(updates::start(deployer, root, id, None).await.unwrap().update.id);
    }
    let [broken, stuck, early, midway] = runs[..] else { panic!("four") };
    let behind = updates::start(deployer, root, "stuck", None).await.unwrap().update.id;
    let worker = world.worker().await;
    for run in [broken, stuck, early, midway] {
        worker.claim(run).await;
    }
    worker.succeed(midway, 0, ACTIVATE - 1, json!({})).await;
    worker.write(midway, &[NewEvent::step(ACTIVATE, 1, Kind::StepStarted)], false).await;
    for run in [broken, stuck, early, midway] {
        updates::cancel(deployer, root, run).await.unwrap();
        assert_ne!(status(&world, run).await, Status::Cancelled, "a living worker holds it");
    }
    let failure = Failure::new(Code::new("RESTORE_FAILED"), "It could not be put back.");
    let recorded = NewEvent::run(Kind::CancelRequested { by: "root".to_owned() });
    worker.write(stuck, &[recorded, NewEvent::run(Kind::Stuck { failure })], false).await;
    world.sql(&format!("UPDATE run_event SET kind = 'Nonsense' WHERE run_id = {broken} AND seq = 2")).await;

    let (mut unseen, now) = (Unseen::default(), Instant::now());
    assert_eq!(unseen.look(deployer, now).await.unwrap(), 0, "it lives");
    assert_ne!(status(&world, early).await, Status::Cancelled);
    world.sql("UPDATE worker SET lease_until = 1").await;
    assert_eq!(unseen.look(deployer, now).await.unwrap(), 1, "it has lapsed");
    assert_eq!(status(&world, early).await, Status::Cancelled);
    assert_eq!(status(&world, midway).await, Status::Running, "a worker may come, and look after the node");
    assert_eq!(unseen.look(deployer, now + LATER).await.unwrap(), 0);
    let ended = updates::get(deployer, root, midway).await.unwrap().unwrap();
    assert_eq!(ended.status, Status::Cancelled);
    let message = ended.failure.unwrap().message;
    assert!(message.contains("in step activate") && message.ends_with("look there."), "{message}");

    assert_eq!(status(&world, stuck).await, Status::Stuck);
    assert_eq!(status(&world, behind).await, Status::Queued);
    assert_eq!(code(&updates::start(deployer, root, "stuck", None).await), "DEPLOYMENT_STUCK");
    assert_eq!(updates::cancel(deployer, root, stuck).await.unwrap().status, Status::Cancelled, "this is a word on it");
}
