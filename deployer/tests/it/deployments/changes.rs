//! Making and changing projects and deployments.

use deployer::{
    deployments::{self, Change, Filter, SettingsChange},
    infrastructures,
    paging::Page,
    projects, updates,
};
use engine::{journal::Status, plan::OnFailure};
use sea_orm::ConnectionTrait as _;
use targets::spec::ConnectionRemapping;

use crate::deployments::support::{bundle, code, key, new_deployment, permission, problems, viewer, world};

fn remap(source: &str, target: &str) -> ConnectionRemapping {
    ConnectionRemapping { source: source.to_owned(), target: target.to_owned() }
}

#[tokio::test]
async fn a_deployment_has_its_own_copy_of_the_remappings() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let made = world.deployment("d", "CHURN").await;
    assert_eq!(made.settings.connection_remapping, [remap("sql-dev", "sql-prod")]);
    let mut patch = infrastructures::InfrastructurePatch::default();
    patch.settings.connection_remapping = Some(vec![remap("sql-dev", "elsewhere")]);
    let version = infrastructures::get(deployer, root, "PROD").await.unwrap().unwrap().version;
    infrastructures::update(deployer, root, "PROD", version, patch).await.unwrap();
    let now = deployments::get(deployer, root, "d").await.unwrap().unwrap();
    assert_eq!(now.settings.connection_remapping, [remap("sql-dev", "sql-prod")]);
    let own = SettingsChange { connection_remapping: Some(Vec::new()), ..Default::default() };
    let made =
        deployments::create(deployer, root, deployments::NewDeployment { settings: own, ..new_deployment("e", "E") })
            .await;
    assert_eq!(made.unwrap().settings.connection_remapping, []);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_deployment_is_told_at_once() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let create = |new| deployments::create(deployer, root, new);
    for id in ["a/b", "a?b", "a#b", " ", "", &"x".repeat(101)] {
        assert_eq!(problems(create(new_deployment(id, "X")).await), [("ID_INVALID", "id".to_owned())], "{id}");
    }
    for id in ["stages", "infras", "bundles", "d"] {
        assert_eq!(problems(create(new_deployment(id, "X")).await), [("ID_NOT_AVAILABLE", "id".to_owned())], "{id}");
    }
    create(new_deployment("D", "X")).await.unwrap();
    let both = deployments::NewDeployment {
        project_key: "GONE".to_owned(),
        infrastructure_id: "GONE".to_owned(),
        ..new_deployment("e", "E")
    };
    let fields = [("NOT_FOUND", "infrastructureId".to_owned()), ("NOT_FOUND", "projectKey".to_owned())];
    assert_eq!(problems(create(both).await), fields);
    let settings =
        SettingsChange { connection_remapping: Some(vec![remap("a", "b"), remap("a", "c")]), ..Default::default() };
    let wrong = deployments::NewDeployment { settings, ..new_deployment("a/b", "x#y") };
    let found: Vec<_> = problems(create(wrong).await).into_iter().map(|(code, _)| code).collect();
    assert_eq!(found, ["ID_INVALID", "ID_INVALID", "REMAPPING_INVALID"]);
    let unknown = deployments::NewDeployment { bundle_id: "v9".to_owned(), ..new_deployment("e", "E") };
    assert_eq!(problems(create(unknown).await), [("BUNDLE_UNKNOWN", "bundleId".to_owned())]);
    let place = problems(create(new_deployment("e", "CHURN")).await);
    assert_eq!(place, [("DEPLOYED_PROJECT_KEY_TAKEN", "deployedProjectKey".to_owned())]);
}

#[tokio::test]
async fn two_editors_never_overwrite_each_other() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let made = world.deployment("d", "CHURN").await;
    world.deployment("e", "OTHER").await;
    let change = |version| Change {
        expected_version: version,
        settings: SettingsChange { on_failure: Some(Some(OnFailure::Restore)), ..Default::default() },
        ..Default::default()
    };
    let changed = deployments::update_settings(deployer, root, "d", change(made.version)).await.unwrap();
    assert_eq!((changed.version, changed.settings.on_failure), (made.version + 1, Some(OnFailure::Restore)));
    assert_eq!(
        code(&deployments::update_settings(deployer, root, "d", change(made.version)).await),
        "VERSION_CONFLICT"
    );
    let moved = |version, key: &str| Change {
        expected_version: version,
        deployed_project_key: Some(key.to_owned()),
        ..Default::default()
    };
    let taken = deployments::update_settings(deployer, root, "d", moved(changed.version, "OTHER")).await;
    assert_eq!(code(&taken), "DEPLOYED_PROJECT_KEY_TAKEN");
    let moved_to = deployments::update_settings(deployer, root, "d", moved(changed.version, "THIRD")).await.unwrap();
    assert_eq!(moved_to.deployed_project_key, "THIRD");
    updates::start(deployer, root, "d", None).await.unwrap();
    let fixed = deployments::update_settings(deployer, root, "d", moved(moved_to.version, "FOURTH")).await;
    assert_eq!(code(&fixed), "DEPLOYED_PROJECT_KEY_FIXED");
    let unknown = Change { expected_version: moved_to.version, bundle_id: Some("v9".to_owned()), ..Default::default() };
    assert_eq!(code(&deployments::update_settings(deployer, root, "d", unknown).await), "BUNDLE_UNKNOWN");
}

#[tokio::test]
async fn deleting_takes_the_history_along() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.deployment("d", "CHURN").await;
    let run = updates::start(deployer, root, "d", Some("k")).await.unwrap().update.id;
    assert_eq!(code(&deployments::delete(deployer, root, "d").await), "UPDATE_RUNNING");
    updates::cancel(deployer, root, run).await.unwrap();
    deployments::delete(deployer, root, "d").await.unwrap();
    assert!(updates::get(deployer, root, run).await.unwrap().is_none());
    // Its id, and its place on the node, are free again; a key of before means nothing.
    world.deployment("d", "CHURN").await;
    assert!(!updates::start(deployer, root, "d", Some("k")).await.unwrap().repeated);
}

#[tokio::test]
async fn lists_filter_and_turn_pages() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    world.infrastructure("TEST", "http://127.0.0.1:2").await;
    for id in ["a", "b", "C_1"] {
        world.deployment(id, id).await;
    }
    let there = deployments::NewDeployment { infrastructure_id: "TEST".to_owned(), ..new_deployment("t", "T") };
    deployments::create(deployer, root, there).await.unwrap();
    let run = updates::start(deployer, root, "b", None).await.unwrap().update.id;
    updates::cancel(deployer, root, run).await.unwrap();
    updates::start(deployer, root, "a", None).await.unwrap();
    let ids = async |filter: Filter| {
        let page = Page::new(None, None).unwrap();
        let listing = deployments::list(deployer, root, &filter, &page).await.unwrap();
        listing.items.into_iter().map(|(_, deployment)| deployment.id).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(ids(Filter::default()).await, ["C_1", "a", "b", "t"]);
    assert_eq!(ids(Filter { infrastructure: text("TEST"), ..Filter::default() }).await, ["t"]);
    assert_eq!(ids(Filter { project: text("OTHER"), ..Filter::default() }).await, [""; 0]);
    assert_eq!(ids(Filter { stage: text("Test"), ..Filter::default() }).await.len(), 4);
    assert_eq!(ids(Filter { stage: text("Production"), ..Filter::default() }).await.len(), 0);
    assert_eq!(ids(Filter { text: text("c_"), ..Filter::default() }).await, ["C_1"]);
    assert_eq!(ids(Filter { status: Some(vec![Status::Cancelled]), ..Filter::default() }).await, ["b"]);
    assert_eq!(
        ids(Filter { status: Some(vec![Status::Queued, Status::Cancelled]), ..Filter::default() }).await,
        ["a", "b"]
    );
    let first =
        deployments::list(deployer, root, &Filter::default(), &Page::new(Some(3), None).unwrap()).await.unwrap();
    assert!(first.has_next);
    let second = Page::new(Some(3), Some(&first.items[2].0)).unwrap();
    let second = deployments::list(deployer, root, &Filter::default(), &second).await.unwrap();
    assert_eq!((second.items.len(), second.has_next), (1, false));
    let some = deployments::by_ids(deployer, root, &["a".to_owned(), "absent".to_owned()]).await.unwrap();
    assert_eq!(some.keys().collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn a_projects_settings_name_what_exists() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let made = projects::create(deployer, root, "FRAUD", Some("Fraud")).await.unwrap();
    assert_eq!((made.owner.as_str(), made.version, made.name.as_str()), ("root", 1, "Fraud"));
    assert_eq!(code(&projects::create(deployer, root, "FRAUD", None).await), "ID_NOT_AVAILABLE");
    assert_eq!(code(&projects::create(deployer, root, "infras", None).await), "ID_NOT_AVAILABLE");
    assert_eq!(code(&projects::create(deployer, root, "a/b", None).await), "ID_INVALID");
    let change = |change: projects::Change| {
        projects::update(deployer, root, "FRAUD", projects::Change { expected_version: 1, ..change })
    };
    let owner = projects::Change { owner: Some("nobody".to_owned()), ..Default::default() };
    assert_eq!(problems(change(owner).await), [("USER_UNKNOWN", "owner".to_owned())]);
    let unknown = projects::Change { permissions: Some(vec![permission("nobody", "read")]), ..Default::default() };
    assert_eq!(code(&change(unknown).await), "GROUP_UNKNOWN");
    let twice = projects::Change {
        permissions: Some(vec![permission("of-read", "read"), permission("of-read", "write")]),
        name: Some(" ".to_owned()),
        ..Default::default()
    };
    let expected = [("TEXT_INVALID", "name".to_owned()), ("GROUP_REPEATED", "permissions[1].group".to_owned())];
    assert_eq!(problems(change(twice).await), expected);
    let owner = world.somebody("none", "none").await;
    let given = projects::Change { owner: Some(owner.login.clone()), ..Default::default() };
    change(given).await.unwrap();
    assert!(projects::get(deployer, &owner, "FRAUD").await.unwrap().is_some_and(|project| project.rights.admin));
    // Who gives away the last right of their own learns that it worked.
    let away = projects::Change { expected_version: 2, owner: Some("root-2".to_owned()), ..Default::default() };
    let root_2 = deployer::accounts::users::NewUser { login: "root-2".to_owned(), ..Default::default() };
    deployer::accounts::users::create(deployer, root, root_2).await.unwrap();
    assert!(!projects::update(deployer, &owner, "FRAUD", away).await.unwrap().rights.read);
    projects::delete(deployer, root, "FRAUD").await.unwrap();
    assert_eq!(code(&projects::delete(deployer, root, "FRAUD").await), "NOT_FOUND");
    let designer = world.account("designer").await;
    world.upload(&designer, None, &bundle("MINE", "v1")).await.unwrap();
    assert_eq!(code(&projects::delete(deployer, &designer, "MINE").await), "IN_USE");
}

#[tokio::test]
async fn what_is_absent_is_told_under_the_argument_that_named_it() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let absent = || [("NOT_FOUND", "id".to_owned())];
    let run = engine::ids::RunId(999);
    assert_eq!(problems(updates::cancel(deployer, root, run).await), absent());
    assert_eq!(problems(updates::retry(deployer, root, run, None).await), absent());
    assert_eq!(problems(updates::abandon(deployer, root, run).await), absent());
    assert_eq!(problems(deployer::bundles::delete(deployer, root, &key("CHURN", "v9")).await), absent());
}

#[tokio::test]
async fn a_filter_with_a_nul_finds_nothing() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let nul = || Some("\0".to_owned());
    let page = Page::new(None, None).unwrap();
    for filter in [
        Filter { infrastructure: nul(), ..Default::default() },
        Filter { project: nul(), ..Default::default() },
        Filter { stage: nul(), ..Default::default() },
        Filter { text: Some("d".repeat(201)), ..Default::default() },
    ] {
        let found = deployments::list(&world.deployer, &world.root, &filter, &page).await.unwrap();
        assert!(found.items.is_empty(), "{filter:?}");
    }
}

#[tokio::test]
async fn nobody_owns_a_project_without_an_account() {
    let world = world().await;
    let gone = viewer("gone", &[]);
    let stored = world.stored();
    let made = projects::create(&world.deployer, &gone, "NEW", None).await;
    assert_eq!(problems(made), [("USER_UNKNOWN", "owner".to_owned())]);
    let uploaded = world.upload(&gone, None, &bundle("NEW", "v1")).await;
    assert_eq!(problems(uploaded), [("USER_UNKNOWN", "owner".to_owned())]);
    assert_eq!(world.stored(), stored);
}

#[tokio::test]
async fn a_right_that_goes_while_a_change_waits_is_missed() {
    let world = world().await;
    let deployer = &world.deployer;
    world.deployment("d", "CHURN").await;
    let alice = world.somebody("deploy", "deploy").await;
    let tx = deployer.db.begin().await.unwrap();
    tx.lock("deployment", "id = $1", "d").await.unwrap();
    let taken = async {
        // So that the change asked before the right went; if it did not come that far, it answers the same.
        for _ in 0..20 {
            deployer.db.now().await.unwrap();
        }
        tx.execute_unprepared("DELETE FROM infrastructure_permission").await.unwrap();
        tx.commit().await.unwrap();
    };
    let change = Change { expected_version: 1, ..Change::default() };
    let (changed, ()) = tokio::join!(deployments::update_settings(deployer, &alice, "d", change), taken);
    assert_eq!(problems(changed), [("NOT_FOUND", "id".to_owned())]);
}
