//! Updates that go well.

use sandbox::{BundleSpec, KeyKind};
use serde_json::json;
use targets::target::ReceiptItem;

use crate::support::{KEY, OneKey, Step, World, node, world};

#[tokio::test]
async fn a_new_project() {
    let world = world().await;
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    assert_eq!(receipt.bundle.as_deref(), Some("v1"));
    assert_eq!(receipt.project_key, "CHURN");
    let item = |id: &str, active| ReceiptItem { id: id.into(), run_as: Some("runner".into()), active };
    assert_eq!(receipt.scenarios, [item("CHECKS", false), item("DAILY", true), item("WEEKLY", false)]);
    assert_eq!(receipt.webapps, [item("app", true)]);
    let targets: Vec<_> =
        receipt.connections.iter().map(|c| (c.source.as_str(), c.target.as_str(), c.found_type.as_deref())).collect();
    assert_eq!(targets, [("sql-dev", "sql-prod", Some("PostgreSQL")), ("files-dev", "files-prod", Some("Filesystem"))]);

    let project = world.project();
    assert_eq!(project["activeBundle"], "v1");
    assert_eq!(project["activatedBy"], "deployer");
    assert_eq!(project["owner"], "deployer");
    assert_eq!(project["permissions"], json!([]));
    assert_eq!(project["bundles"][0]["sha256"], world.spec.package.sha256);
    assert_eq!(project["bundles"][0]["preloaded"], true);
    assert_eq!(project["variables"]["local"], json!({"env": "prod"}));
    assert_eq!(project["variables"]["standard"]["bundle"], "v1");
    // Switched on only under the user that policy demands.
    assert_eq!(project["scenarios"]["DAILY"]["armedAs"], json!(["runner"]));
    assert_eq!(project["webapps"]["app"]["backend"], json!({"alive": true, "runAs": "runner"}));

    for call in world.node.calls() {
        assert_eq!(call.key, KeyKind::Admin);
        let effect = ["projectsFromBundle", "settings", "variables", "preload", "activate", "light"]
            .iter()
            .any(|end| call.path.ends_with(end));
        let as_user = call.method != "GET" && effect;
        assert_eq!(call.proxy_user.as_deref(), as_user.then_some("deployer"), "{} {}", call.method, call.path);
    }
}

#[tokio::test]
async fn the_next_bundle_keeps_what_is_left_alone() {
    let mut world = world().await;
    world.update().await;
    // Somebody turns a scenario on that the deployment leaves alone, and makes one of the node's own.
    world.by_hand("PUT", "/projects/CHURN/scenarios/WEEKLY/light", json!({"active": true})).await;
    world
        .by_hand("PUT", "/projects/CHURN/variables/", json!({"standard": {}, "local": {"env": "prod"}, "more": 1}))
        .await;

    world.new_run();
    world.take(&BundleSpec::new("CHURN", "v2")).await;
    world.node.clear_calls();
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    let project = world.project();
    assert_eq!(project["activeBundle"], "v2");
    assert_eq!(project["scenarios"]["WEEKLY"]["active"], true);
    assert_eq!(project["scenarios"]["WEEKLY"]["runAs"], "runner");
    assert_eq!(project["webapps"]["app"]["backend"]["runAs"], "runner");
    assert_eq!(world.effects("POST", "/importFromStream").len(), 1);
    assert_eq!(world.effects("POST", "/projectsFromBundle").len(), 0);
    let activation = &world.effects("POST", "/activate")[0];
    let sandbox::CallBody::Json(body) = &activation.body else { panic!("{activation:?}") };
    assert_eq!(*body, json!({"scenariosActiveOnActivation": {"CHECKS": false, "DAILY": false, "WEEKLY": false}}));
}

#[tokio::test]
async fn the_same_bundle_again_is_not_imported_again() {
    let mut world = world().await;
    world.update().await;
    let before = world.project();
    world.new_run();
    world.node.clear_calls();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.project(), before);
    assert_eq!(
        world.effects("POST", "/projectsFromBundle").len() + world.effects("POST", "/importFromStream").len(),
        0
    );
    assert_eq!(world.effects("PUT", "/settings").len() + world.effects("PUT", "/variables").len(), 0);
    assert_eq!(world.effects("POST", "/activate").len(), 1);
}

#[tokio::test]
async fn unknown_keys_survive() {
    let mut world = world().await;
    world.update().await;
    let mut settings = world.by_hand("GET", "/projects/CHURN/settings", json!(null)).await;
    settings["settings"]["strange"] = json!({"a": [1]});
    settings["bundleContainerSettings"]["codeEnvsBehavior"] = json!({"importTimeMode": "INSTALL_IF_MISS", "x": 1});
    settings["bundleContainerSettings"]["remapping"]["codeEnvs"] = json!([{"source": "a", "target": "b"}]);
    settings["top"] = json!("kept");
    world.by_hand("PUT", "/projects/CHURN/settings", settings.clone()).await;
    for (path, key) in [("/projects/CHURN/scenarios/DAILY", "custom"), ("/projects/CHURN/webapps/app", "custom")] {
        let mut definition = world.by_hand("GET", path, json!(null)).await;
        definition[key] = json!({"b": 2});
        definition["runAsUser"] = json!("analyst");
        world.by_hand("PUT", path, definition).await;
    }
    world.new_run();
    // As in a spec of an earlier version.
    world.spec.code_env_remapping = None;
    world.spec.connection_remapping.pop();
    world.spec.connection_remapping.push(crate::support::remap("files-dev", "files-prod2"));
    world.node.set_connection("files-prod2", "Filesystem");
    // Run-as alone, without the activation that takes definitions from the bundle.
    world.step(Step::Enforce).await.unwrap();
    assert_eq!(world.project()["scenarios"]["DAILY"]["definition"]["custom"], json!({"b": 2}));
    assert_eq!(world.project()["webapps"]["app"]["definition"]["custom"], json!({"b": 2}));
    assert_eq!(world.project()["scenarios"]["DAILY"]["runAs"], "runner");
    assert_eq!(world.update().await.differences, []);
    let now = world.by_hand("GET", "/projects/CHURN/settings", json!(null)).await;
    assert_eq!(now["top"], "kept");
    assert_eq!(now["settings"]["strange"], settings["settings"]["strange"]);
    assert_eq!(
        now["bundleContainerSettings"]["codeEnvsBehavior"],
        settings["bundleContainerSettings"]["codeEnvsBehavior"]
    );
    assert_eq!(
        now["bundleContainerSettings"]["remapping"]["codeEnvs"],
        settings["bundleContainerSettings"]["remapping"]["codeEnvs"]
    );
    assert_eq!(now["bundleContainerSettings"]["remapping"]["connections"][1]["target"], "files-prod2");
}

#[tokio::test]
async fn preview_and_check_change_nothing() {
    let world = World::on(node().user("boss", &[], true)).await;
    let report = world.target().check(&world.spec.infrastructure, &OneKey(KEY)).await.unwrap();
    assert_eq!((report.node_type.as_deref(), report.is_admin, report.problems.len()), (Some("AUTOMATION"), true, 0));
    assert_eq!(report.version.as_deref(), Some("14.2.0"));
    let preview = world.target().preview(world.look()).await.unwrap();
    assert!(preview.creates_project && preview.active_bundle.is_none() && preview.problems.is_empty());
    assert_eq!(preview.run_as.len(), 4);
    assert_eq!(preview.scenarios.len(), 1);
    assert!(world.node.calls().iter().all(|call| call.method == "GET"));

    world.update().await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert!(!preview.creates_project && preview.run_as.is_empty() && preview.scenarios.is_empty());
    assert_eq!(preview.active_bundle.as_deref(), Some("v1"));
}

#[tokio::test]
async fn check_names_what_is_wrong() {
    let world = World::on(node().user_key("users-own", "analyst")).await;
    let report = world.target().check(&world.spec.infrastructure, &OneKey("users-own")).await.unwrap();
    assert!(!report.is_admin && report.problems.len() == 1, "{report:?}");
    let failure = world.target().check(&world.spec.infrastructure, &OneKey("wrong")).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "NODE_KEY_REJECTED");
}
