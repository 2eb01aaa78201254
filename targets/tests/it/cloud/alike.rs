//! What Azure ML and Vertex AI promise alike, each with its own paths.

use engine::failure::{StepError, StepOutcome};
use sandbox::{
    Fault, FaultKind,
    clouds::{CloudCall, RunningCloud, StandIn},
};
use serde_json::json;

use super::CloudWorld;
use crate::support::Step;

fn status(status: u16, retry_after: Option<u64>) -> FaultKind {
    FaultKind::Status { status, error_type: None, message: None, retry_after }
}

/// What the platform is at is followed through looks that fail: all of them below `root`, and those at `one` of several things. What `changes` counts is asked for once.
pub(crate) async fn follows<S: StandIn>(
    (cloud, world): (&RunningCloud<S>, &mut CloudWorld),
    (root, one): (&str, &str),
    changes: fn(&CloudCall) -> bool,
) {
    let changes = || cloud.calls().iter().filter(|call| changes(call)).count();
    world.update().await.unwrap();
    for step in [Step::Activate, Step::Restore] {
        if step == Step::Activate {
            world.next_run(&[("v2", 1.0)]);
            world.step(Step::Push).await.unwrap();
        }
        assert!(matches!(world.attempt(step).await, Ok(StepOutcome::NotYet { .. })), "{step:?}");
        let before = changes();
        // Everything, one thing of several, and a platform that asks to come again.
        for (path, kind) in [(root, status(503, None)), (one, status(500, None)), (root, status(429, Some(30)))] {
            let fault = cloud.arm(Fault::on("GET", path, kind).for_ever()).unwrap();
            let (looks, end) = world.looks(step, 100).await;
            assert_eq!(looks, 12, "{step:?} {path}");
            // It counts in full, whatever is asked for.
            assert!(matches!(end, Err(StepError::Retryable { retry_after: None, .. })), "{step:?} {path}: {end:?}");
            fault.disarm();
        }
        // It was asked for once, and comes to its end.
        assert_eq!(changes(), before);
        world.step(step).await.unwrap();
    }
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
}

/// An image that was pushed by an update which went no further goes with the deployment; `change` is the call that makes something of it.
pub(crate) async fn clears_images<S: StandIn>(
    (cloud, world): (&RunningCloud<S>, &mut CloudWorld),
    (method, change): (&str, &str),
) {
    world.update().await.unwrap();
    world.next_run(&[("v2", 1.0)]);
    let fault = cloud.arm(Fault::on(method, change, status(422, None)).for_ever()).unwrap();
    world.step(Step::Push).await.unwrap_err();
    fault.disarm();
    let images = || cloud.effects()["registry"]["images"].as_array().unwrap().len();
    assert_eq!(images(), 4, "two images, each by tag and by digest");
    world.next_run(&[("v1", 1.0)]);
    world.step(Step::SwitchOff).await.unwrap();
    world.step(Step::Remove).await.unwrap();
    assert_eq!((images(), &cloud.effects()["resources"]), (0, &json!({})));
}
