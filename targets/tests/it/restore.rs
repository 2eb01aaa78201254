//! Putting back what was active before.

use sandbox::{BundleSpec, Fault, FaultKind};
use serde_json::{Value, json};
use targets::target::Receipt;

use crate::support::{SETTLE, STEPS, Step, World, remap, world};

/// `v1` with WEEKLY on, then an update to `v2` under other settings, up to and with `last`.
async fn half_updated(last: Step) -> (World, Value) {
    let mut world = world().await;
    world.update().await;
    world.by_hand("PUT", "/projects/CHURN/scenarios/WEEKLY/light", json!({"active": true})).await;
    let before = world.project();
    world.new_run();
    let mut bundle = BundleSpec::new("CHURN", "v2");
    bundle.scenarios.pop();
    world.take(&bundle).await;
    world.node.set_connection("sql-prod2", "PostgreSQL");
    world.spec.connection_remapping = vec![remap("sql-dev", "sql-prod2"), remap("files-dev", "files-prod")];
    world.spec.local_variables = Some(json!({"env": "other"}).as_object().unwrap().clone());
    world.spec.scenarios = [("DAILY".to_owned(), false)].into();
    world.until(last).await.unwrap();
    (world, before)
}

fn same(world: &World, before: &Value) {
    let now = world.project();
    // The new bundle stays imported; that is all. Who touched a definition last, and as whom it was ever armed, is history.
    for part in ["activeBundle", "variables", "permissions", "owner"] {
        assert_eq!(now[part], before[part], "{part}");
    }
    assert_eq!(
        now["settings"]["bundleContainerSettings"]["remapping"]["connections"],
        before["settings"]["bundleContainerSettings"]["remapping"]["connections"]
    );
    for (id, scenario) in before["scenarios"].as_object().unwrap() {
        for part in ["active", "runAs"] {
            assert_eq!(now["scenarios"][id][part], scenario[part], "{id} {part}");
        }
        assert_eq!(
            now["scenarios"][id]["armedAs"].as_array().unwrap().iter().filter(|user| *user != "runner").count(),
            0
        );
    }
    assert_eq!(now["webapps"]["app"]["backend"], before["webapps"]["app"]["backend"]);
}

#[tokio::test]
async fn after_each_step() {
    for last in [Step::Push, Step::Activate, Step::Enforce, Step::Verify] {
        let (world, before) = half_updated(last).await;
        let (receipt, warnings) = world.step(Step::Restore).await.unwrap();
        let receipt: Receipt = serde_json::from_value(receipt).unwrap();
        assert_eq!(
            (receipt.bundle.as_deref(), receipt.differences.len(), warnings.len()),
            (Some("v1"), 0, 0),
            "{last:?}: {receipt:?}"
        );
        same(&world, &before);
        // Only what was touched is put back.
        let activations = world.effects("POST", "/v1/actions/activate").len();
        assert_eq!(activations, if last == Step::Push { 1 } else { 2 }, "{last:?}");
        // And again: nothing left to do.
        world.node.clear_calls();
        world.step(Step::Restore).await.unwrap();
        assert!(world.node.calls().iter().all(|call| call.method == "GET"), "{last:?}");
    }
}

#[tokio::test]
async fn with_nothing_active_before_it_leaves() {
    let world = world().await;
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
    world.until(Step::Activate).await.unwrap();
    let there = world.node.snapshot();
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
    assert_eq!(world.node.snapshot(), there);
}

#[tokio::test]
async fn with_answers_lost() {
    let (world, _) = half_updated(Step::Enforce).await;
    world.node.clear_calls();
    world.step(Step::Restore).await.unwrap();
    for nth in 1..=world.node.calls().len() as u32 {
        for kind in [FaultKind::LostAnswer, FaultKind::Reset] {
            let (world, before) = half_updated(Step::Enforce).await;
            world.node.clear_calls();
            world.node.arm(Fault { method: None, path: "**".into(), nth, count: Some(1), kind }).unwrap();
            world.step(Step::Restore).await.unwrap();
            same(&world, &before);
            assert_eq!(world.effects("POST", "/activate").len(), 1, "{nth}");
        }
    }
}

#[tokio::test]
async fn an_activation_in_flight_does_not_overtake_the_restore() {
    let (world, before) = half_updated(Step::Push).await;
    let fault = world
        .node
        .arm(Fault::on(
            "POST",
            "/projects/*/bundles/imported/v2/actions/activate",
            FaultKind::Hold { when: sandbox::When::Before },
        ))
        .unwrap();
    tokio::select! {
        _ = world.attempt(Step::Activate) => panic!("it is held"),
        () = fault.reached() => {}
    }
    assert!(matches!(world.attempt(Step::Restore).await, Ok(engine::failure::StepOutcome::NotYet { .. })));
    fault.release();
    world.node.until_calls(|calls| calls.iter().all(|call| call.end.is_some())).await;
    world.step(Step::Restore).await.unwrap();
    same(&world, &before);
}

#[tokio::test]
async fn a_restore_that_fails_is_unknown() {
    let (world, _) = half_updated(Step::Activate).await;
    world
        .node
        .arm(Fault::on(
            "POST",
            "/projects/*/bundles/imported/v1/actions/activate",
            FaultKind::ReportError { code: "ERR_X".into(), message: "no".into() },
        ))
        .unwrap();
    let failure = world.failure(Step::Restore).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("NODE_REPORT_ERROR", true));
    world.node.arm(Fault::on("GET", "/projects", FaultKind::Reset)).unwrap();
    assert!(world.retryable(Step::Restore).await.0.outcome_unknown);
}

#[tokio::test]
async fn the_bundle_that_was_active_is_gone() {
    let (world, _) = half_updated(Step::Enforce).await;
    world.by_hand("DELETE", "/projects/CHURN/bundles/imported/v1", json!(null)).await;
    let failure = world.failure(Step::Restore).await;
    assert_eq!((failure.code.as_str(), failure.outcome_unknown), ("NODE_NOT_FOUND", true));
}

#[tokio::test]
async fn a_retry_finds_what_is_done() {
    // The run ended after the activation; its notes are inherited.
    let (world, _) = half_updated(Step::Activate).await;
    world.run.advance(SETTLE);
    world.node.clear_calls();
    for step in STEPS {
        world.step(step).await.unwrap();
    }
    assert_eq!(world.effects("POST", "/activate").len() + world.effects("POST", "/importFromStream").len(), 0);
    assert_eq!(world.project()["scenarios"]["WEEKLY"]["active"], true);
}
