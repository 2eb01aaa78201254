//! Every step may be attempted twice at any point: at each call of an update, the answer is lost, the call is reset, or the worker dies. The node ends the same,
//! and no call is repeated once the node shows its effect.

use std::time::Duration;

use sandbox::{BundleSpec, Fault, FaultKind, When};
use serde_json::Value;

use crate::support::{STEPS, Step, World, world};

/// A project with `v1` active, about to get `v2`.
async fn second_update() -> World {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    world.take(&BundleSpec::new("CHURN", "v2")).await;
    world.node.clear_calls();
    world
}

async fn first_update() -> World {
    world().await
}

/// What an undisturbed update makes, and how many calls it needs.
async fn undisturbed(world: World) -> (Value, u32) {
    world.update().await;
    (world.node.snapshot(), u32::try_from(world.node.calls().len()).unwrap())
}

fn any(kind: FaultKind, nth: u32) -> Fault {
    Fault { method: None, path: "**".to_owned(), nth, count: Some(1), kind }
}

fn once_each(world: &World, disturbed: &str) {
    for (method, end) in [("POST", "/projectsFromBundle"), ("POST", "/importFromStream"), ("POST", "/activate")] {
        let calls = world.effects(method, end);
        assert!(calls.len() <= 1, "{disturbed}: {end} {} times", calls.len());
    }
    for call in world.effects("PUT", "") {
        let same = world.effects("PUT", &call.path).len();
        assert!(same <= 1, "{disturbed}: {} {same} times", call.path);
    }
}

async fn disturbed_by(kind: FaultKind, first: bool) {
    let (wanted, calls) = undisturbed(if first { first_update().await } else { second_update().await }).await;
    for nth in 1..=calls {
        let world = if first { first_update().await } else { second_update().await };
        let fault = world.node.arm(any(kind.clone(), nth)).unwrap();
        let receipt = world.update().await;
        let told = format!(
            "{kind:?} at call {nth}: {:?}",
            world.node.calls().get(nth as usize - 1).map(|c| format!("{} {}", c.method, c.path))
        );
        assert_eq!(fault.hits(), 1, "{told}");
        assert_eq!(receipt.differences, [], "{told}");
        assert_eq!(world.node.snapshot(), wanted, "{told}");
        once_each(&world, &told);
    }
}

#[tokio::test]
async fn answers_lost_in_a_first_update() {
    disturbed_by(FaultKind::LostAnswer, true).await;
}

#[tokio::test]
async fn answers_lost_in_a_second_update() {
    disturbed_by(FaultKind::LostAnswer, false).await;
}

#[tokio::test]
async fn answers_cut() {
    disturbed_by(FaultKind::CutAnswer, true).await;
}

#[tokio::test]
async fn calls_reset() {
    disturbed_by(FaultKind::Reset, true).await;
}

#[tokio::test]
async fn the_node_fails_for_a_moment() {
    let status = |status| FaultKind::Status { status, error_type: None, message: None, retry_after: None };
    disturbed_by(status(500), true).await;
    disturbed_by(status(503), false).await;
}

/// The worker dies while a call is held: after its effect, or before it (and the call goes on at the node).
async fn killed(when: When) {
    let (wanted, calls) = undisturbed(second_update().await).await;
    for nth in 1..=calls {
        let world = second_update().await;
        let fault = world.node.arm(any(FaultKind::Hold { when }, nth)).unwrap();
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
        // What the dead worker called comes to its end at the node.
        world.node.until_calls(|calls| calls.iter().all(|call| call.end.is_some())).await;
        for step in STEPS.into_iter().skip_while(|step| *step != died) {
            world.step(step).await.unwrap();
        }
        assert_eq!(world.node.snapshot(), wanted, "{told}");
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

#[tokio::test]
async fn a_call_in_flight_is_waited_for() {
    use engine::failure::StepOutcome;
    let world = second_update().await;
    world.until(Step::Push).await.unwrap();
    let fault = world
        .node
        .arm(Fault::on(
            "POST",
            "/projects/*/bundles/imported/*/actions/activate",
            FaultKind::Hold { when: When::Before },
        ))
        .unwrap();
    tokio::select! {
        _ = world.attempt(Step::Activate) => panic!("it is held"),
        () = fault.reached() => {}
    }
    // The node is still at it: nobody calls again.
    for _ in 0..3 {
        let Ok(StepOutcome::NotYet { check_in }) = world.attempt(Step::Activate).await else {
            panic!("it is in flight")
        };
        world.run.advance(check_in);
    }
    assert_eq!(world.effects("POST", "/activate").len(), 1);
    fault.release();
    world.node.until_calls(|calls| calls.iter().all(|call| call.end.is_some())).await;
    world.step(Step::Activate).await.unwrap();
    assert_eq!(world.effects("POST", "/activate").len(), 1);

    // One that never takes effect is repeated once the node had the time to settle.
    let world = second_update().await;
    world.until(Step::Push).await.unwrap();
    world.node.arm(Fault::on("POST", "/projects/*/bundles/imported/*/actions/activate", FaultKind::Reset)).unwrap();
    let (failure, _) = world.retryable(Step::Activate).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("NODE_ANSWER_CUT", true));
    assert!(matches!(world.attempt(Step::Activate).await, Ok(StepOutcome::NotYet { .. })));
    world.run.advance(crate::support::SETTLE + Duration::from_secs(1));
    world.step(Step::Activate).await.unwrap();
    assert_eq!(world.project()["activeBundle"], "v2");
}

#[tokio::test]
async fn an_unknown_activation_behind_a_rejected_key_needs_a_human() {
    let world = second_update().await;
    world.until(Step::Push).await.unwrap();
    let activate = "/projects/*/bundles/imported/*/actions/activate";
    world.node.arm(Fault::on("POST", activate, FaultKind::LostAnswer)).unwrap();
    // Nobody can look right after it, nor later.
    let status = |status| FaultKind::Status { status, error_type: None, message: None, retry_after: None };
    world.node.arm(Fault::on("GET", "/projects", status(503)).nth(3).times(1)).unwrap();
    world.node.arm(Fault::on("GET", "/projects", status(401)).nth(4).for_ever()).unwrap();
    let failure = world.failure(Step::Activate).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("NODE_KEY_REJECTED", true));
    world.node.disarm_all();
    world.step(Step::Activate).await.unwrap();
    assert_eq!(world.effects("POST", "/activate").len(), 1);
}
