//! The conformance loop: at every call of an update something goes wrong, and still the class is right, the account ends the same, and nothing is done twice.

use std::collections::BTreeMap;

use engine::failure::StepError;
use sandbox::{Fault, FaultKind, When};
use serde_json::Value;

use super::world::{STEPS, World};
use crate::support::Step;

/// `v1` is live, `v2` is about to be.
async fn second_update() -> World {
    let mut world = World::new().await;
    world.cloud.set_slowness(1);
    world.update().await;
    world.take(&[("v2", 1.0)]).await;
    world.cloud.clear_calls();
    world
}

async fn first_update() -> World {
    let world = World::new().await;
    world.cloud.set_slowness(1);
    world
}

async fn world(first: bool) -> World {
    if first { first_update().await } else { second_update().await }
}

/// The end, without what the practice registry's address does to names.
fn end(world: &World) -> Vec<(String, usize, Value)> {
    let effects = world.cloud.effects();
    let sizes = ["models", "configs", "repositories", "tags"]
        .map(|kind| (kind.to_owned(), effects[kind].as_object().unwrap().len(), Value::Null));
    let endpoint = world.endpoint().1;
    let state = ("endpoint".to_owned(), 1, endpoint["status"].clone());
    sizes.into_iter().chain([state]).collect()
}

fn once_each(world: &World, told: &str) {
    let mut seen = BTreeMap::new();
    for change in world.cloud.changes() {
        *seen.entry(change).or_insert(0) += 1;
    }
    for ((operation, name), times) in seen {
        assert!(times <= 1, "{told}: {operation} {name} {times} times");
    }
}

fn any(path: &str, kind: FaultKind, nth: u32) -> Fault {
    Fault { method: None, path: path.to_owned(), nth, count: Some(1), kind }
}

fn status(status: u16, kind: &str, retry_after: Option<u64>) -> FaultKind {
    FaultKind::Status { status, error_type: Some(kind.into()), message: None, retry_after }
}

async fn undisturbed(first: bool) -> (Vec<(String, usize, Value)>, u32) {
    let world = world(first).await;
    world.update().await;
    (end(&world), u32::try_from(world.cloud.calls().len()).unwrap())
}

async fn passing(kind: FaultKind, first: bool) {
    passing_at("**", kind, first).await;
}

async fn passing_at(path: &str, kind: FaultKind, first: bool) {
    let (wanted, _) = undisturbed(first).await;
    for nth in 1.. {
        let world = world(first).await;
        let fault = world.cloud.arm(any(path, kind.clone(), nth)).unwrap();
        let receipt = world.update().await;
        if fault.hits() == 0 {
            assert!(nth > 1, "{path}");
            break;
        }
        let told = format!("{kind:?} at call {nth} of {path}");
        assert_eq!(receipt.differences, [], "{told}");
        assert_eq!(end(&world), wanted, "{told}");
        once_each(&world, &told);
    }
}

#[tokio::test]
async fn answers_lost() {
    passing(FaultKind::LostAnswer, true).await;
    passing(FaultKind::LostAnswer, false).await;
}

#[tokio::test]
async fn calls_reset() {
    passing(FaultKind::Reset, false).await;
}

#[tokio::test]
async fn slow_answers() {
    passing(FaultKind::Trickle { chunk: 64, pause_ms: 1 }, false).await;
}

#[tokio::test]
async fn not_available_for_a_moment() {
    passing(status(503, "ServiceUnavailable", None), false).await;
}

/// Throttled, in both of AWS' ways: the class, and how long it asks us to wait.
#[tokio::test]
async fn throttled() {
    for path in ["/sagemaker/*", "/ecr/*"] {
        passing_at(path, status(400, "ThrottlingException", None), false).await;
    }
    let world = second_update().await;
    world.cloud.arm(any("/sagemaker/*", status(429, "TooManyRequestsException", Some(7)), 1)).unwrap();
    let Err(StepError::Retryable { failure, retry_after }) = world.attempt(Step::Validate).await else { panic!() };
    assert_eq!((failure.code.as_str(), retry_after.map(|wait| wait.as_secs())), ("NODE_BUSY", Some(7)));
}

/// What won't pass: the step fails for good, with the right code, and whoever mends it goes on.
async fn lasting(kind: FaultKind, code: &str) {
    let (wanted, _) = undisturbed(false).await;
    for path in ["/sagemaker/*", "/ecr/*"] {
        for nth in 1.. {
            let world = second_update().await;
            let fault = world.cloud.arm(any(path, kind.clone(), nth)).unwrap();
            let mut failed = 0;
            for step in STEPS {
                if let Err(failure) = world.step(step).await {
                    assert_eq!(failure.code.as_str(), code, "{kind:?} at {path} {nth}");
                    failed += 1;
                    world.step(step).await.unwrap();
                }
            }
            if fault.hits() == 0 {
                assert!(nth > 1, "{path}");
                break;
            }
            assert_eq!(failed, 1, "{kind:?} at {path} {nth}");
            assert_eq!(end(&world), wanted, "{kind:?} at {path} {nth}");
            once_each(&world, path);
        }
    }
}

#[tokio::test]
async fn keys_rejected() {
    lasting(status(401, "UnrecognizedClientException", None), "NODE_KEY_REJECTED").await;
}

#[tokio::test]
async fn requests_refused() {
    lasting(status(422, "SomethingElse", None), "NODE_REFUSED").await;
}

/// The worker dies while a call is held: after its effect, or before it (and the call goes on).
async fn killed(when: When) {
    let (wanted, calls) = undisturbed(false).await;
    for nth in 1..=calls {
        let world = second_update().await;
        let fault = world.cloud.arm(any("**", FaultKind::Hold { when }, nth)).unwrap();
        let mut at = None;
        for step in STEPS {
            tokio::select! {
                done = world.step(step) => { done.unwrap(); }
                () = fault.reached() => { at = Some(step); break; }
            }
        }
        let died = at.unwrap();
        let told = format!("killed {when:?} call {nth}, in {died:?}");
        fault.release();
        world.cloud.until_calls(|calls| calls.iter().all(|call| call.end.is_some())).await;
        for step in STEPS.into_iter().skip_while(|step| *step != died) {
            world.step(step).await.unwrap();
        }
        assert_eq!(end(&world), wanted, "{told}");
        once_each(&world, &told);
    }
}

#[tokio::test]
async fn workers_killed_after_the_effect() {
    killed(When::After).await;
}

#[tokio::test]
async fn workers_killed_before_the_effect() {
    killed(When::Before).await;
}

/// Steps that take away: twice is as once, and an answer lost is not an effect lost.
#[tokio::test]
async fn taking_away_with_lost_answers() {
    for step in [Step::SwitchOff, Step::Remove] {
        let untouched = {
            let mut world = first_update().await;
            world.update().await;
            world.new_run();
            world.cloud.clear_calls();
            world.step(step).await.unwrap();
            world.cloud.calls().len()
        };
        for nth in 1..=u32::try_from(untouched).unwrap() {
            let mut world = first_update().await;
            world.update().await;
            world.new_run();
            world.cloud.arm(any("**", FaultKind::LostAnswer, nth)).unwrap();
            world.step(step).await.unwrap();
            assert_eq!(world.cloud.effects()["endpoints"], serde_json::json!({}), "{step:?} {nth}");
            once_each(&world, "taking away");
        }
    }
}
