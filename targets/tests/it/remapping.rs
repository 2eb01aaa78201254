//! Remapping of code envs and container configurations, and how code envs are imported.

use sandbox::BundleSpec;
use serde_json::{Value, json};
use targets::{
    spec::{CodeEnvsBehavior, ImportTimeMode},
    target::Receipt,
};

use crate::support::{Step, World, node, remap, world};

/// A node that has `py39`, and a deployment that remaps the sample's code env to it.
async fn remapped() -> World {
    let mut world = World::on(node().code_env("py39")).await;
    world.spec.code_env_remapping = Some(vec![remap("py_sample", "py39")]);
    world.spec.container_exec_remapping = Some(vec![remap("small", "gpu-pool")]);
    world.spec.code_envs_behavior =
        Some(CodeEnvsBehavior { import_time_mode: ImportTimeMode::FailIfMiss, ..CodeEnvsBehavior::default() });
    world
}

async fn container(world: &World) -> Value {
    world.by_hand("GET", "/projects/CHURN/settings", json!(null)).await["bundleContainerSettings"].clone()
}

#[tokio::test]
async fn they_are_written_with_the_connections_in_one_call() {
    let world = remapped().await;
    let receipt = world.update().await;
    assert_eq!(receipt.differences, []);
    assert_eq!(receipt.code_envs, [remap("py_sample", "py39")]);
    assert_eq!(receipt.container_execs, [remap("small", "gpu-pool")]);
    assert_eq!(world.effects("PUT", "/settings").len(), 1);
    let there = container(&world).await;
    assert_eq!(there["remapping"]["codeEnvs"], json!([{"source": "py_sample", "target": "py39"}]));
    assert_eq!(there["remapping"]["containerExecs"], json!([{"source": "small", "target": "gpu-pool"}]));
    let behavior = json!({"importTimeMode": "FAIL_IF_MISS", "envImportSpecificationMode": "SPECIFIED"});
    assert_eq!(there["codeEnvsBehavior"], behavior);
    // Nothing was installed beside it.
    assert_eq!(world.node.snapshot()["codeEnvs"], json!(["py39"]));
}

#[tokio::test]
async fn what_somebody_changed_is_told_and_mended_by_the_next_update() {
    let mut world = remapped().await;
    world.update().await;
    let mut settings = world.by_hand("GET", "/projects/CHURN/settings", json!(null)).await;
    let there = &mut settings["bundleContainerSettings"];
    there["remapping"]["codeEnvs"] =
        json!([{"source": "py_sample", "target": "py27", "note": 1}, {"source": "r", "target": "r4"}]);
    there["remapping"]["containerExecs"] = json!([{"source": "small", "target": "gpu-pool", "note": "kept"}]);
    there["codeEnvsBehavior"]["importTimeMode"] = json!("OF_A_LATER_VERSION");
    there["codeEnvsBehavior"]["more"] = json!(1);
    world.by_hand("PUT", "/projects/CHURN/settings", settings).await;

    let (receipt, warnings) = world.step(Step::Verify).await.unwrap();
    let receipt: Receipt = serde_json::from_value(receipt).unwrap();
    let told: Vec<_> =
        receipt.differences.iter().map(|d| (d.what.as_str(), d.found.clone(), d.wanted.clone())).collect();
    let expected = [
        ("the remapping of code env py_sample", json!("py27"), json!("py39")),
        ("the remapping of code env r", json!("r4"), Value::Null),
        ("what happens to a missing code env", json!("OF_A_LATER_VERSION"), json!("FAIL_IF_MISS")),
    ];
    assert_eq!((told.as_slice(), warnings.len()), (expected.as_slice(), 3));
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.remapping, receipt.differences);

    world.new_run();
    assert_eq!(world.update().await.differences, []);
    let there = container(&world).await;
    assert_eq!(there["remapping"]["containerExecs"][0]["note"], "kept");
    assert_eq!(
        (&there["codeEnvsBehavior"]["more"], &there["codeEnvsBehavior"]["importTimeMode"]),
        (&json!(1), &json!("FAIL_IF_MISS"))
    );
}

#[tokio::test]
async fn a_remapped_code_env_must_be_there_and_others_if_the_deployment_says_so() {
    let mut world = world().await;
    // The node makes it: it is not asked.
    world.step(Step::Validate).await.unwrap();
    assert_eq!(world.effects("GET", "/admin/code-envs/").len(), 0);
    world.spec.code_env_remapping = Some(vec![remap("py_sample", "py39"), remap("other", "absent")]);
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "CODE_ENV_MISSING");
    assert!(failure.message.contains("py_sample, remapped to py39"), "{}", failure.message);
    assert!(!failure.message.contains("absent"), "{}", failure.message);
    world.spec.code_env_remapping = Some(Vec::new());
    let behavior = CodeEnvsBehavior { import_time_mode: ImportTimeMode::FailIfMiss, ..CodeEnvsBehavior::default() };
    world.spec.code_envs_behavior = Some(behavior);
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "CODE_ENV_MISSING");
    world.spec.connection_remapping.clear();
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "VALIDATION_FAILED");
    assert!(world.node.calls().iter().all(|call| call.method == "GET"));
}

#[tokio::test]
async fn a_restore_puts_them_back() {
    let mut world = remapped().await;
    world.node.set_connection("sql-prod2", "PostgreSQL");
    world.update().await;
    let before = container(&world).await;
    for last in [Step::Push, Step::Enforce] {
        world.new_run();
        world.take(&BundleSpec::new("CHURN", "v2")).await;
        world.spec.code_env_remapping = Some(Vec::new());
        world.spec.container_exec_remapping = Some(vec![remap("small", "other-pool")]);
        world.spec.code_envs_behavior = Some(CodeEnvsBehavior::default());
        world.until(last).await.unwrap();
        assert_ne!(container(&world).await, before);
        let (receipt, _) = world.step(Step::Restore).await.unwrap();
        let receipt: Receipt = serde_json::from_value(receipt).unwrap();
        assert_eq!((receipt.bundle.as_deref(), receipt.differences.len()), (Some("v1"), 0), "{receipt:?}");
        assert_eq!(container(&world).await, before);
    }
}

#[tokio::test]
async fn a_spec_of_an_earlier_version_leaves_them_alone() {
    let mut world = remapped().await;
    world.update().await;
    let before = container(&world).await;
    let mut old = serde_json::to_value(&world.spec).unwrap();
    for key in ["code_env_remapping", "container_exec_remapping", "code_envs_behavior"] {
        old.as_object_mut().unwrap().remove(key);
    }
    for key in ["govern_check_policy", "governance", "project_standards_policy"] {
        old["infrastructure"].as_object_mut().unwrap().remove(key);
    }
    world.spec = serde_json::from_value(old).unwrap();
    world.new_run();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(container(&world).await, before);
}
