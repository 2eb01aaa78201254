//! Step `enforce_run_as`, and what stays off when it fails for good.

use sandbox::{BundleSpec, Fault, FaultKind};
use serde_json::json;

use crate::support::{Step, World, node, world};

#[tokio::test]
async fn nothing_runs_as_somebody_else_even_for_a_moment() {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    world.take(&BundleSpec::new("CHURN", "v2")).await;
    world.update().await;
    for (id, scenario) in world.project()["scenarios"].as_object().unwrap() {
        assert!(scenario["armedAs"].as_array().unwrap().iter().all(|user| user == "runner"), "{id}: {scenario}");
    }
}

#[tokio::test]
async fn each_update_enforces_the_users_of_then() {
    let mut world = world().await;
    world.node.set_user("runner-2", &[], false);
    world.update().await;
    // Somebody changes one on the node, and the infrastructure names others: the same bundle again.
    let mut daily = world.by_hand("GET", "/projects/CHURN/scenarios/DAILY", json!(null)).await;
    daily["runAsUser"] = json!("analyst");
    world.by_hand("PUT", "/projects/CHURN/scenarios/DAILY", daily).await;
    world.new_run();
    world.spec.infrastructure.run_as_webapps = Some("runner-2".into());
    assert_eq!(world.update().await.differences, []);
    let project = world.project();
    for id in ["DAILY", "WEEKLY", "CHECKS"] {
        assert_eq!(project["scenarios"][id]["runAs"], "runner", "{id}");
    }
    assert_eq!(project["webapps"]["app"]["backend"], json!({"alive": true, "runAs": "runner-2"}));
    world.new_run();
    world.spec.infrastructure.run_as_scenarios = Some("runner-2".into());
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.project()["scenarios"]["WEEKLY"]["runAs"], "runner-2");
}

#[tokio::test]
async fn without_a_policy_the_bundle_says() {
    let mut world = world().await;
    world.node.set_user("designer", &[], false);
    world.spec.infrastructure.run_as_scenarios = None;
    world.spec.infrastructure.run_as_webapps = None;
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.project()["scenarios"]["DAILY"]["runAs"], "designer");
    assert_eq!(world.effects("PUT", "/webapps/app").len() + world.effects("PUT", "/restart").len(), 0);
    // The next bundle names another user: its backend must not go on as the old one.
    world.new_run();
    let mut bundle = BundleSpec::new("CHURN", "v2");
    bundle.webapps[0].run_as_user = Some("analyst".into());
    world.take(&bundle).await;
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.project()["webapps"]["app"]["backend"], json!({"alive": true, "runAs": "analyst"}));
}

#[tokio::test]
async fn another_name_of_the_web_apps_field() {
    let mut world = World::on(node().webapp_run_as_field("runAs")).await;
    world.spec.infrastructure.node.webapp_run_as_field = "runAs".into();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.project()["webapps"]["app"]["definition"]["runAs"], "runner");
    assert_eq!(world.project()["webapps"]["app"]["backend"]["runAs"], "runner");
}

#[tokio::test]
async fn a_backend_that_is_stopped_comes_back_if_it_ran_before() {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    world.until(Step::Activate).await.unwrap();
    world.by_hand("PUT", "/projects/CHURN/webapps/app/backend/actions/stop", json!(null)).await;
    world.step(Step::Enforce).await.unwrap();
    assert_eq!(world.project()["webapps"]["app"]["backend"], json!({"alive": true, "runAs": "runner"}));
    // Stopped before the update, it stays stopped.
    world.by_hand("PUT", "/projects/CHURN/webapps/app/backend/actions/stop", json!(null)).await;
    world.new_run();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.project()["webapps"]["app"]["backend"]["alive"], false);
}

#[tokio::test]
async fn leaving_switches_on_what_is_safe() {
    let mut world = world().await;
    world.spec.scenarios.insert("WEEKLY".into(), true);
    world.until(Step::Activate).await.unwrap();
    world.node.arm(Fault::on("PUT", "/projects/*/scenarios/WEEKLY", refuse()).for_ever()).unwrap();
    assert_eq!(world.failure(Step::Enforce).await.code.as_str(), "NODE_FORBIDDEN");
    assert_eq!(world.project()["scenarios"]["DAILY"]["active"], false);
    assert_eq!(world.leave_safe().await, ["WEEKLY"]);
    let project = world.project();
    assert_eq!(
        (&project["scenarios"]["DAILY"]["active"], &project["scenarios"]["WEEKLY"]["active"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(project["scenarios"]["DAILY"]["armedAs"], json!(["runner"]));
    // Before anything was switched off there is nothing to leave safe.
    let other = self::world().await;
    assert_eq!(other.leave_safe().await, Vec::<String>::new());
    assert!(other.node.calls().is_empty());
}

fn refuse() -> FaultKind {
    FaultKind::Status { status: 403, error_type: None, message: None, retry_after: None }
}

#[tokio::test]
async fn a_scenario_that_is_not_there_is_a_difference() {
    let mut world = world().await;
    world.spec.scenarios.insert("GONE".into(), true);
    world.until(Step::Enforce).await.unwrap();
    let (receipt, warnings) = world.step(Step::Verify).await.unwrap();
    assert_eq!(receipt["differences"], json!([{"what": "scenario GONE", "found": "not there", "wanted": "on"}]));
    assert_eq!(warnings.len(), 1);
}

#[tokio::test]
async fn what_others_change_is_in_the_receipt() {
    let world = world().await;
    world.update().await;
    world.by_hand("PUT", "/projects/CHURN/scenarios/DAILY/light", json!({"active": false})).await;
    world
        .by_hand("PUT", "/projects/CHURN/variables/", json!({"standard": {}, "local": {"env": "hidden-value", "x": 1}}))
        .await;
    let (receipt, warnings) = world.step(Step::Verify).await.unwrap();
    let whats: Vec<_> =
        receipt["differences"].as_array().unwrap().iter().map(|d| d["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["the local variable env", "the local variable x", "scenario DAILY"]);
    assert_eq!(warnings.len(), 3);
    assert!(!receipt.to_string().contains("hidden-value"));
}
