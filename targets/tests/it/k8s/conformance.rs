//! Every step, with every fault at every one of its calls, and with a worker that dies at every note: the right class of failure, and in the end the same effects as
//! without.

use std::time::Duration;

use engine::failure::{StepError, StepOutcome};
use serde_json::json;
use targets::codes;

use super::{
    standin::{Fault, NAMESPACE, OLD, StandIn, TOKEN},
    world::{Step, World},
};

const FAULTS: [Fault; 6] =
    [Fault::Status(429), Fault::Status(503), Fault::Status(401), Fault::Status(422), Fault::Reset, Fault::AnswerLost];
const STEPS: [Step; 7] =
    [Step::Validate, Step::Activate, Step::Enforce, Step::Verify, Step::Restore, Step::SwitchOff, Step::Remove];

/// A cluster on which version 1 is live, and version 2 has gone through all steps before `step`.
async fn before(step: Step) -> (StandIn, World) {
    let standin = StandIn::start(OLD).await;
    let mut world = World::new(&standin.url, None, TOKEN, NAMESPACE, standin.host());
    world.set_everything();
    world.update().await;
    world.new_run();
    world.take("v2", "registry.example.com/churn@sha256:2");
    world.set("/workload/env", json!({"LEVEL": "debug"}));
    world.set("/workload/disruptionBudget", json!({"enabled": false}));
    world.set("/workload/autoscaling", json!({"enabled": false}));
    let earlier: &[Step] = match step {
        Step::Validate => &[],
        Step::Activate => &[Step::Validate],
        Step::Enforce | Step::Restore => &[Step::Validate, Step::Activate],
        Step::Verify => &[Step::Validate, Step::Activate, Step::Enforce],
        Step::SwitchOff | Step::Remove => &[Step::Validate, Step::Activate, Step::Enforce, Step::Verify],
    };
    for step in earlier {
        world.step(*step).await.unwrap();
    }
    (standin, world)
}

/// Attempts until the fault has struck, or the step is done; what the attempt that met it came to.
async fn meet(standin: &StandIn, world: &World, step: Step) -> Option<StepError> {
    for _ in 0..100 {
        let result = world.attempt(step).await;
        match result {
            Err(error) => return Some(error),
            Ok(StepOutcome::NotYet { .. }) => {}
            Ok(StepOutcome::Done { .. }) => break,
        }
    }
    assert!(standin.fault_is_left(), "{step:?}: a fault went unnoticed");
    None
}

fn check_class(step: Step, fault: Fault, error: StepError, at: &str) {
    match (fault, error) {
        (Fault::Status(429), StepError::Retryable { failure, retry_after }) => {
            assert_eq!((failure.code, retry_after), (codes::NODE_BUSY, Some(Duration::from_secs(7))), "{at}");
        }
        (Fault::Status(503) | Fault::Reset | Fault::AnswerLost, StepError::Retryable { .. }) => {}
        (Fault::Status(401), StepError::Permanent(failure)) => {
            assert_eq!(failure.code, codes::NODE_KEY_REJECTED, "{at}")
        }
        (Fault::Status(422), StepError::Permanent(failure)) => {
            let fine = [codes::NODE_REFUSED, codes::K8S_OBJECT_REFUSED];
            assert!(fine.contains(&failure.code), "{at}: {failure}");
        }
        (_, other) => panic!("{at} ({step:?}): {other:?}"),
    }
}

async fn fork((standin, world): &(StandIn, World)) -> (StandIn, World) {
    let standin = standin.fork().await;
    let world = world.fork(&standin.url);
    (standin, world)
}

async fn every_fault(step: Step) {
    let base = before(step).await;
    let (standin, world) = fork(&base).await;
    let first = standin.calls().len();
    world.step(step).await.unwrap();
    let (wanted, calls) = (standin.effects(), standin.calls()[first..].to_vec());
    // Many questions about rights are alike, and come at once.
    let stride = if step == Step::Validate { 5 } else { 1 };
    // What a registry's faults mean is told where images are made.
    for n in (0..calls.len()).step_by(stride).filter(|n| !calls[*n].contains(" /v2/")) {
        for fault in FAULTS {
            let at = format!("{step:?}, {fault:?} at call {n}, {}", calls[n]);
            let (standin, world) = fork(&base).await;
            standin.fault(n, fault);
            let Some(error) = meet(&standin, &world, step).await else { continue };
            check_class(step, fault, error, &at);
            world.step(step).await.unwrap_or_else(|failure| panic!("{at}: {failure}"));
            assert_eq!(standin.effects(), wanted, "{at}");
        }
    }
}

async fn every_death(step: Step) {
    let base = before(step).await;
    let (standin, world) = fork(&base).await;
    world.step(step).await.unwrap();
    let wanted = standin.effects();
    for survived in 0..5 {
        let (standin, world) = fork(&base).await;
        *world.run.dies_after.lock().unwrap() = Some(survived);
        let mut died = false;
        for _ in 0..100 {
            match world.attempt(step).await {
                Err(StepError::LeaseLost) => died = true,
                Ok(StepOutcome::NotYet { .. }) => continue,
                Ok(StepOutcome::Done { .. }) => {}
                Err(other) => panic!("{step:?}: {other:?}"),
            }
            break;
        }
        *world.run.dies_after.lock().unwrap() = None;
        world.step(step).await.unwrap();
        assert_eq!(standin.effects(), wanted, "{step:?} after {survived} notes (died: {died})");
    }
}

macro_rules! steps {
    ($($name:ident => $step:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            every_fault(Step::$step).await;
            every_death(Step::$step).await;
        })*

        #[test]
        fn no_step_is_left_out() {
            assert_eq!(STEPS, [$(Step::$step),*]);
        }
    };
}

steps! {
    validate => Validate,
    activate => Activate,
    enforce => Enforce,
    verify => Verify,
    restore => Restore,
    switch_off => SwitchOff,
    remove => Remove,
}
