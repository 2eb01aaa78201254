//! What an update would change, asked of a practice node.

use deployer::{
    hooks::{self, HookInput, Phase},
    infrastructures,
    preview::{PreviewOutcome, preview_update},
    updates::HookCounts,
};
use sandbox::Node;

use crate::deployments::support::{World, world, world_at};

async fn with_hooks(world: &World) {
    for (phase, name) in [(Phase::Pre, "freeze"), (Phase::Post, "tell")] {
        let version = infrastructures::get(&world.deployer, &world.root, "PROD").await.unwrap().unwrap().version;
        let hook = HookInput {
            name: name.to_owned(),
            code: "def execute(**kwargs):\n    return HookResult.success('')\n".to_owned(),
            code_env: None,
            os_user: None,
            deadline_ms: None,
            enabled: None,
            on_interrupt: None,
        };
        hooks::set_hooks(&world.deployer, &world.root, "PROD", phase, vec![hook], version).await.unwrap();
    }
}

#[tokio::test]
async fn tells_what_would_change_and_changes_nothing() {
    let node =
        Node::builder().admin_key("node-key").user("deploy-deploy", &[], false).connection("sql-prod", "MySQL").build();
    let running = node.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let world = world_at(&running.url()).await;
    with_hooks(&world).await;
    world.deployment("d", "CHURN").await;
    let before = node.snapshot();
    let deployer = world.somebody("deploy", "deploy").await;
    let seen = preview_update(&world.deployer, &deployer, "d").await.unwrap();
    assert_eq!(
        (seen.hooks, seen.hook_names, seen.acting_user.as_str()),
        (HookCounts { pre: 1, post: 1 }, None, "deploy-deploy")
    );
    let PreviewOutcome::Found(found) = seen.outcome else { panic!("{:?}", seen.outcome) };
    assert!(found.creates_project);
    assert_eq!(found.bundle, "v1");
    let connection = &found.connections[0];
    assert_eq!((connection.source.as_str(), connection.target.as_str()), ("sql-dev", "sql-prod"));
    assert_eq!(
        (connection.wanted_type.as_deref(), connection.found_type.as_deref()),
        (Some("PostgreSQL"), Some("MySQL"))
    );
    assert!(found.problems.iter().any(|problem| problem.code == "CONNECTION_TYPE_DIFFERS"), "{:?}", found.problems);
    assert_eq!(node.snapshot(), before);
    assert!(node.calls().iter().all(|call| call.method == "GET"));

    let admin = world.somebody("admin", "admin").await;
    let names = preview_update(&world.deployer, &admin, "d").await.unwrap().hook_names;
    let expected = [("pre_hooks/1".to_owned(), "freeze".to_owned()), ("post_hooks/1".to_owned(), "tell".to_owned())];
    assert_eq!(names.as_deref(), Some(expected.as_slice()));
}

#[tokio::test]
async fn a_node_that_is_down_is_an_answer() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let deployer = world.somebody("deploy", "deploy").await;
    let seen = preview_update(&world.deployer, &deployer, "d").await.unwrap();
    let PreviewOutcome::Failed(trouble) = seen.outcome else { panic!("{:?}", seen.outcome) };
    assert_eq!((trouble.code.as_str(), trouble.detail), ("NODE_UNREACHABLE", None));
}
