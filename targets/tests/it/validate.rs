//! Step `validate_remap`: all problems at once, and nothing changes.

use crate::support::{Step, World, node, remap, world};

#[tokio::test]
async fn all_problems_at_once() {
    let mut world = world().await;
    world.spec.connection_remapping = vec![remap("sql-dev", "files-prod")];
    world.spec.acting_user = "nobody".into();
    world.spec.infrastructure.run_as_scenarios = Some("ghost".into());
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "VALIDATION_FAILED");
    for part in [
        "CONNECTION_TYPE_DIFFERS",
        "CONNECTION_MISSING",
        "ACTING_USER_MISSING",
        "RUN_AS_USER_MISSING",
        "sql-dev",
        "files-prod",
        "files-dev",
        "PostgreSQL",
        "Filesystem",
        "nobody",
        "ghost",
        "dataset customers",
    ] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    assert!(world.node.calls().iter().all(|call| call.method == "GET"));
}

#[tokio::test]
async fn one_kind_has_its_own_code() {
    let mut world = World::on(node().user("gone", &[], false).disabled("gone")).await;
    let good = world.spec.clone();
    world.spec.connection_remapping.clear();
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "CONNECTION_MISSING");
    world.spec.connection_remapping = vec![remap("sql-dev", "files-prod"), remap("files-dev", "files-prod")];
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "CONNECTION_TYPE_DIFFERS");
    world.spec.connection_remapping.pop();
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "CONNECTIONS_INVALID");
    world.spec = good.clone();
    world.spec.acting_user = "gone".into();
    let failure = world.failure(Step::Validate).await;
    assert_eq!(failure.code.as_str(), "ACTING_USER_MISSING");
    assert!(failure.message.contains("disabled"));
    world.spec = good;
    world.spec.infrastructure.run_as_webapps = Some("ghost".into());
    assert_eq!(world.failure(Step::Validate).await.code.as_str(), "RUN_AS_USER_MISSING");
}

#[tokio::test]
async fn without_a_type_the_name_is_enough() {
    let mut world = world().await;
    world.spec.connection_remapping = vec![remap("sql-dev", "files-prod"), remap("files-dev", "files-prod")];
    for connection in &mut world.contents.connections {
        connection.kind = None;
    }
    world.contents.inferred = true;
    let (_, warnings) = world.step(Step::Validate).await.unwrap();
    assert_eq!(warnings.len(), 1);
}
