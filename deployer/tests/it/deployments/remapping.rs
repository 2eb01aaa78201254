//! Remappings: copied, merged, frozen, and the list of deployments whose are otherwise than the infrastructure's today.

use deployer::{
    deployments::{self, Change, RemappingKind, SettingsChange, remapped_otherwise},
    infrastructures::{self, InfrastructurePatch, SettingsPatch},
    paging::Page,
    updates,
};
use engine::runs;
use targets::spec::{CodeEnvsBehavior, DeploySpec, ImportTimeMode, Remapping};

use crate::deployments::support::{World, new_deployment, world};

fn remap(source: &str, target: &str) -> Remapping {
    Remapping { source: source.to_owned(), target: target.to_owned() }
}

async fn set(world: &World, id: &str, settings: SettingsPatch) {
    let version = infrastructures::get(&world.deployer, &world.root, id).await.unwrap().unwrap().version;
    let patch = InfrastructurePatch { settings, ..Default::default() };
    infrastructures::update(&world.deployer, &world.root, id, version, patch).await.unwrap();
}

async fn frozen(world: &World, id: &str) -> DeploySpec {
    let run = updates::start(&world.deployer, &world.root, id, None).await.unwrap().update.id;
    let loaded = runs::load(world.deployer.db.pool(), run).await.unwrap().unwrap();
    serde_json::from_value(loaded.state.spec.body.clone()).unwrap()
}

#[tokio::test]
async fn all_three_are_copied_into_new_deployments_alone() {
    let world = world().await;
    world.deployment("old", "OLD").await;
    let patch = SettingsPatch {
        code_env_remapping: Some(vec![remap("py", "py311")]),
        container_exec_remapping: Some(vec![remap("small", "pool")]),
        ..Default::default()
    };
    set(&world, "PROD", patch).await;
    let new = world.deployment("new", "NEW").await;
    assert_eq!(new.settings.code_env_remapping, Some(vec![remap("py", "py311")]));
    assert_eq!(new.settings.container_exec_remapping, Some(vec![remap("small", "pool")]));
    let spec = frozen(&world, "old").await;
    assert_eq!((spec.code_env_remapping, spec.container_exec_remapping), (None, None), "left alone");
    assert_eq!(spec.code_envs_behavior, None);
    let spec = frozen(&world, "new").await;
    assert_eq!(spec.code_env_remapping, Some(vec![remap("py", "py311")]));
    // What is merged at each update is not copied.
    let settings = SettingsChange { merge_infrastructure_remapping: Some(true), ..Default::default() };
    let merging = deployments::NewDeployment { settings, ..new_deployment("merging", "MERGING") };
    let made = deployments::create(&world.deployer, &world.root, merging).await.unwrap();
    assert_eq!((made.settings.connection_remapping, made.settings.code_env_remapping), (vec![], None));
}

#[tokio::test]
async fn lists_that_an_earlier_version_did_not_know_leave_the_nodes_alone() {
    let world = world().await;
    let made = world.deployment("d", "CHURN").await;
    world.sql("UPDATE deployment SET settings = '{\"connection_remapping\":[]}' WHERE id = 'd'").await;
    let spec = frozen(&world, "d").await;
    assert_eq!((spec.code_env_remapping, spec.container_exec_remapping), (None, None));
    let settings = SettingsChange { code_env_remapping: Some(Vec::new()), ..Default::default() };
    let change = Change { expected_version: made.version, settings, ..Default::default() };
    deployments::update_settings(&world.deployer, &world.root, "d", change).await.unwrap();
    let spec = frozen(&world, "d").await;
    assert_eq!((spec.code_env_remapping, spec.container_exec_remapping), (Some(vec![]), None));
}

#[tokio::test]
async fn an_update_merges_the_infrastructures_of_then_if_it_is_asked_to() {
    let world = world().await;
    let made = world.deployment("d", "CHURN").await;
    let behavior = CodeEnvsBehavior { import_time_mode: ImportTimeMode::DoNothing, ..Default::default() };
    let settings = SettingsChange {
        code_env_remapping: Some(vec![remap("py", "ours")]),
        merge_infrastructure_remapping: Some(true),
        code_envs_behavior: Some(Some(behavior)),
        ..Default::default()
    };
    let change = Change { expected_version: made.version, settings, ..Default::default() };
    deployments::update_settings(&world.deployer, &world.root, "d", change).await.unwrap();
    let patch = SettingsPatch {
        connection_remapping: Some(vec![remap("sql-dev", "elsewhere"), remap("files-dev", "files")]),
        code_env_remapping: Some(vec![remap("py", "theirs"), remap("r", "r4")]),
        container_exec_remapping: Some(vec![remap("small", "pool")]),
        ..Default::default()
    };
    set(&world, "PROD", patch).await;
    let spec = frozen(&world, "d").await;
    assert_eq!(spec.connection_remapping, [remap("sql-dev", "sql-prod"), remap("files-dev", "files")]);
    assert_eq!(spec.code_env_remapping, Some(vec![remap("py", "ours"), remap("r", "r4")]));
    assert_eq!(spec.container_exec_remapping, Some(vec![remap("small", "pool")]));
    assert_eq!(spec.code_envs_behavior, Some(behavior));
}

#[tokio::test]
async fn a_page_looks_at_so_many_and_the_next_goes_on() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let columns = "project_key, infrastructure_id, bundle_id, settings, version, last_run_no, created_at, created_by, updated_at, updated_by";
    let many = format!(
        "INSERT INTO deployment (id, deployed_project_key, {columns}) \
         WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 2100) \
         SELECT 'n' || n.i, 'N' || n.i, {columns} FROM n, deployment WHERE id = 'd'"
    );
    world.sql(&many).await;
    let list = async |after: Option<&str>| {
        let page = Page::new(None, after).unwrap();
        remapped_otherwise(&world.deployer, &world.root, None, &page).await.unwrap()
    };
    let empty = list(None).await;
    let (cursor, end) = &empty.items[0];
    assert_eq!((empty.items.len(), empty.has_next), (1, true));
    assert_eq!((end.deployment.id.as_str(), end.differences.len()), ("n1999", 0));
    let rest = list(Some(cursor)).await;
    assert_eq!((rest.items.len(), rest.has_next), (0, false));

    let own = SettingsChange { code_env_remapping: Some(vec![remap("py", "ours")]), ..Default::default() };
    for id in ["n1500", "n2050"] {
        let change = Change { expected_version: 1, settings: own.clone(), ..Default::default() };
        deployments::update_settings(&world.deployer, &world.root, id, change).await.unwrap();
    }
    let first = list(None).await;
    assert_eq!((first.items.len(), first.has_next, first.items[0].1.deployment.id.as_str()), (1, true, "n1500"));
    let second = list(Some(&first.items[0].0)).await;
    assert_eq!((second.items.len(), second.has_next, second.items[0].1.deployment.id.as_str()), (1, false, "n2050"));
}

#[tokio::test]
async fn whose_are_otherwise_is_listed_for_those_who_may_deploy_there() {
    let world = world().await;
    world.infrastructure("TEST", "http://127.0.0.1:2").await;
    for n in 0..60 {
        world.deployment(&format!("d{n:02}"), &format!("P{n}")).await;
    }
    let there = deployments::NewDeployment { infrastructure_id: "TEST".to_owned(), ..new_deployment("t", "T") };
    deployments::create(&world.deployer, &world.root, there).await.unwrap();
    let list = async |viewer, on: Option<&str>, first, after: Option<&str>| {
        let page = Page::new(first, after).unwrap();
        remapped_otherwise(&world.deployer, viewer, on, &page).await.unwrap()
    };
    assert!(list(&world.root, None, None, None).await.items.is_empty());
    // One deployment of its own, far behind in the list; then all of an infrastructure.
    let own = SettingsChange { code_env_remapping: Some(vec![remap("py", "ours")]), ..Default::default() };
    let change = Change { expected_version: 1, settings: own, ..Default::default() };
    deployments::update_settings(&world.deployer, &world.root, "d57", change).await.unwrap();
    let found = list(&world.root, None, Some(1), None).await;
    let (_, one) = &found.items[0];
    assert_eq!((found.items.len(), found.has_next, one.deployment.id.as_str()), (1, false, "d57"));
    assert_eq!((one.differences.len(), one.differences[0].kind), (1, RemappingKind::CodeEnv));
    assert_eq!(one.differences[0].deployment.as_deref(), Some("ours"));
    assert_eq!(one.differences[0].infrastructure, None);

    set(&world, "TEST", SettingsPatch { connection_remapping: Some(Vec::new()), ..Default::default() }).await;
    let ids = async |viewer, on| {
        let found = list(viewer, on, None, None).await;
        found.items.into_iter().map(|(_, one)| one.deployment.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&world.root, None).await, ["d57", "t"]);
    assert_eq!(ids(&world.root, Some("TEST")).await, ["t"]);
    assert_eq!(ids(&world.root, Some("\0")).await, [""; 0]);
    set(&world, "PROD", SettingsPatch { connection_remapping: Some(Vec::new()), ..Default::default() }).await;
    let first = list(&world.root, None, Some(40), None).await;
    assert!(first.has_next && first.items.len() == 40);
    let rest = list(&world.root, None, Some(40), Some(&first.items[39].0)).await;
    assert_eq!((rest.items.len(), rest.has_next), (21, false));

    let deploys = world.somebody("deploy", "read").await;
    let views = world.somebody("view", "deploy").await;
    let unread = world.somebody("admin", "none").await;
    assert_eq!(ids(&deploys, None).await.len(), 50);
    // To see the deployments is not enough: the infrastructure's remappings are settings.
    assert_eq!(ids(&views, None).await, [""; 0]);
    assert_eq!(ids(&unread, None).await, [""; 0]);
}
