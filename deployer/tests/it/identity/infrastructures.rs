//! Infrastructures: what is validated, who sees what, when the key is cleared, and that a check reaches a real node.

use deployer::{
    infrastructures::{
        self, CheckOutcome, Filter, InfrastructurePatch, NewInfrastructure, Permission, Settings, SettingsPatch,
    },
    paging::Page,
    rights::Level,
    sealed,
};
use engine::{failure::Code, secrets::Secret};
use entities::{infrastructure, secret};
use sea_orm::EntityTrait as _;
use targets::http::NodeUrlError;

use crate::identity::support::{House, house, refusals, refused, viewer};

fn url(url: &str) -> SettingsPatch {
    SettingsPatch { node_url: Some(url.to_owned()), ..SettingsPatch::default() }
}

fn settings(settings: SettingsPatch) -> InfrastructurePatch {
    InfrastructurePatch { settings, ..InfrastructurePatch::default() }
}

fn key(text: &str) -> Option<Option<Secret>> {
    Some(Some(Secret::from(text.to_owned())))
}

async fn row(house: &House, id: &str) -> infrastructure::Model {
    infrastructure::Entity::find_by_id(id).one(house.deployer.db.pool()).await.unwrap().unwrap()
}

/// The stored key, read as a worker would read it.
async fn stored(house: &House, id: &str) -> Option<String> {
    let reference = row(house, id).await.key_ref?;
    let secret = sealed::open(&house.deployer.db, &house.deployer.keyring, &reference).await.unwrap().unwrap();
    Some(secret.expose().to_owned())
}

#[tokio::test]
async fn all_problems_of_a_new_one_at_once() {
    let house = house().await;
    let new = NewInfrastructure {
        id: "a/b".to_owned(),
        stage: "Test".to_owned(),
        settings: SettingsPatch { settle_ms: Some(u64::MAX), ..url("http://169.254.169.254/") },
        admin_key: Some(Secret::from("a\nb".to_owned())),
        permissions: vec![Permission { group: "ops".to_owned(), level: Level::None }],
        ..NewInfrastructure::default()
    };
    let all = refusals(infrastructures::create(&house.deployer, &house.admin, new).await);
    let codes: Vec<_> = all.iter().map(|refusal| refusal.code).collect();
    let known = ["ID_INVALID", "NODE_ADDRESS_FORBIDDEN", "DURATION_INVALID", "ADMIN_KEY_INVALID", "PERMISSION_INVALID"];
    assert_eq!(codes, known);
    assert_eq!(NodeUrlError::Malformed.code(), Code::new("NODE_URL_INVALID"));
}

#[tokio::test]
async fn ids_stages_and_groups() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    let make = async |viewer, id: &str, stage: &str, group: &str| {
        let new = NewInfrastructure {
            id: id.to_owned(),
            stage: stage.to_owned(),
            settings: url("http://n"),
            permissions: vec![Permission { group: group.to_owned(), level: Level::View }],
            ..NewInfrastructure::default()
        };
        infrastructures::create(&house.deployer, viewer, new).await
    };
    // Taken and reserved: one text for both.
    let taken = make(&house.admin, "prod", "Test", "ops").await;
    let reserved = make(&house.admin, "stages", "Test", "ops").await;
    assert_eq!(format!("{taken:?}"), format!("{reserved:?}"));
    assert_eq!(refused(taken), "ID_NOT_AVAILABLE");
    assert_eq!(refused(make(&house.admin, "new", "Moon", "ops").await), "STAGE_UNKNOWN");
    assert_eq!(refused(make(&house.admin, "new", "Test", "nobody").await), "GROUP_UNKNOWN");
    let ops = viewer("ann", &["ops"]);
    assert_eq!(refused(make(&ops, "new", "Test", "ops").await), "FORBIDDEN");
    let made = make(&house.admin, "new", "Test", "ops").await.unwrap();
    assert_eq!((made.version, made.has_admin_key, made.node_url.as_str()), (1, Some(false), "http://n"));
    let checked = infrastructures::check(&house.deployer, &house.admin, "new").await;
    assert_eq!(refused(checked), "ADMIN_KEY_MISSING");
}

#[tokio::test]
async fn viewers_see_the_basics_and_admins_the_rest() {
    let house = house().await;
    house.infrastructure("prod", Level::Deploy).await;
    house.infrastructure("test", Level::None).await;
    let (dev, ops) = (viewer("bob", &["dev"]), viewer("ann", &["ops"]));
    let seen = infrastructures::get(&house.deployer, &dev, "prod").await.unwrap().unwrap();
    assert_eq!((seen.level, &seen.settings, seen.has_admin_key), (Level::Deploy, &None, None));
    assert_eq!(
        (seen.node_url.as_str(), seen.external_url.as_str()),
        ("https://node.example.com", "https://node.example.com")
    );
    let ids = ["prod".to_owned(), "test".to_owned()];
    assert!(infrastructures::permissions_by_ids(&house.deployer, &dev, &ids).await.unwrap().is_empty());
    let seen = infrastructures::get(&house.deployer, &ops, "prod").await.unwrap().unwrap();
    assert_eq!(seen.has_admin_key, Some(true));
    assert_eq!(seen.settings.unwrap().webapp_run_as_field, "runAsUser");
    assert_eq!(infrastructures::permissions_by_ids(&house.deployer, &ops, &ids).await.unwrap()["prod"].len(), 2);

    let page = Page::new(None, None).unwrap();
    let ids_of = async |viewer, filter: Filter| {
        let list = infrastructures::list(&house.deployer, viewer, &filter, &page).await.unwrap();
        let count = infrastructures::count(&house.deployer, viewer, &filter).await.unwrap();
        assert_eq!(count, list.items.len() as u64);
        list.items.into_iter().map(|(_, item)| item.id).collect::<Vec<_>>()
    };
    assert_eq!(ids_of(&dev, Filter::default()).await, ["prod"]);
    assert_eq!(ids_of(&ops, Filter::default()).await, ["prod", "test"]);
    let filter = |text: &str| Filter { text: Some(text.to_owned()), ..Filter::default() };
    assert_eq!(ids_of(&ops, filter("ES")).await, ["test"]);
    assert_eq!(ids_of(&ops, filter("_")).await, Vec::<String>::new());
    let stage = |stage: &str| Filter { stage: Some(stage.to_owned()), ..Filter::default() };
    assert_eq!(ids_of(&ops, stage("Test")).await.len(), 2);
    assert_eq!(ids_of(&ops, stage("Production")).await.len(), 0);
    let at_least = Filter { at_least: Some(Level::Admin), ..Filter::default() };
    assert_eq!(ids_of(&dev, at_least).await, Vec::<String>::new());
}

#[tokio::test]
async fn changes_need_admin_and_the_version_that_was_seen() {
    let house = house().await;
    house.infrastructure("prod", Level::Deploy).await;
    let (dev, ops) = (viewer("bob", &["dev"]), viewer("ann", &["ops"]));
    let patch = || settings(SettingsPatch { run_as_scenarios: Some(Some("runner".to_owned())), ..Default::default() });
    let update =
        async |viewer, version, patch| infrastructures::update(&house.deployer, viewer, "prod", version, patch).await;
    assert_eq!(refused(update(&dev, 1, patch()).await), "FORBIDDEN");
    assert_eq!(refused(update(&ops, 2, patch()).await), "VERSION_CONFLICT");
    let changed = update(&ops, 1, patch()).await.unwrap();
    assert_eq!((changed.version, changed.updated_by.as_str()), (2, "ann"));
    assert_eq!(changed.settings.unwrap().run_as_scenarios.as_deref(), Some("runner"));
    assert_eq!(refused(update(&ops, 1, patch()).await), "VERSION_CONFLICT");

    let stage = |stage: &str| InfrastructurePatch { stage: Some(stage.to_owned()), ..Default::default() };
    assert_eq!(refused(update(&ops, 2, stage("Moon")).await), "STAGE_UNKNOWN");
    assert_eq!(update(&ops, 2, stage("Production")).await.unwrap().stage, "Production");

    let one = [Permission { group: "other".to_owned(), level: Level::View }];
    let twice = [one[0].clone(), one[0].clone()];
    let put = async |viewer, version, permissions: &[Permission]| {
        infrastructures::set_permissions(&house.deployer, viewer, "prod", version, permissions).await
    };
    assert_eq!(refused(put(&dev, 3, &one).await), "FORBIDDEN");
    assert_eq!(refused(put(&ops, 2, &one).await), "VERSION_CONFLICT");
    assert_eq!(refused(put(&ops, 3, &twice).await), "PERMISSION_INVALID");
    // An administrator who takes their own right does not see it any more.
    assert_eq!(put(&ops, 3, &one).await.unwrap(), None);
    assert_eq!(refused(put(&ops, 4, &one).await), "NOT_FOUND");
}

#[tokio::test]
async fn another_place_clears_the_key_unless_a_new_one_comes_with_it() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    let mut version = 1;
    let mut update = async |patch: InfrastructurePatch| {
        let seen = infrastructures::update(&house.deployer, &house.admin, "prod", version, patch).await.unwrap();
        version = seen.version;
        let stored = stored(&house, "prod").await;
        assert_eq!(seen.has_admin_key, Some(stored.is_some()));
        stored
    };
    let with = |patch, text| InfrastructurePatch { admin_key: key(text), ..settings(patch) };
    assert_eq!(update(settings(url("https://node.example.com:443/dss/"))).await.as_deref(), Some("node-key"));
    for other in ["http://node.example.com", "http://other.example.com", "http://other.example.com:81"] {
        assert_eq!(update(with(SettingsPatch::default(), "again")).await.as_deref(), Some("again"));
        assert_eq!(update(settings(url(other))).await, None, "{other}");
    }
    let trust = SettingsPatch { trust_all_certificates: Some(true), ..SettingsPatch::default() };
    assert_eq!(update(with(SettingsPatch::default(), "again")).await.as_deref(), Some("again"));
    assert_eq!(update(settings(trust)).await, None);
    assert_eq!(update(with(url("https://third.example.com"), "new")).await.as_deref(), Some("new"));
    assert_eq!(update(InfrastructurePatch { admin_key: Some(None), ..Default::default() }).await, None);

    // No update works with an old version: none is left.
    assert_eq!(secret::Entity::find().all(house.deployer.db.pool()).await.unwrap(), []);
    update(with(SettingsPatch::default(), "again")).await;
    let rows = secret::Entity::find().all(house.deployer.db.pool()).await.unwrap();
    assert!(rows.len() == 1 && rows.iter().all(|row| row.owner == "infrastructure/prod"));
    assert!(rows.iter().all(|row| !row.sealed.contains("again")));
}

#[tokio::test]
async fn who_may_lend_whose_name_to_hooks() {
    let house = house().await;
    let ann = house.user("ann", &["ops"]).await;
    house.user("bob", &[]).await;
    house.infrastructure("prod", Level::None).await;
    let choose = async |viewer, version, user: Option<&str>| {
        let patch = SettingsPatch { hooks_user: Some(user.map(str::to_owned)), ..SettingsPatch::default() };
        infrastructures::update(&house.deployer, viewer, "prod", version, settings(patch)).await
    };
    let all = refusals(choose(&ann, 1, Some("admin")).await);
    assert_eq!((all[0].code, all[0].field.as_deref()), ("FORBIDDEN", Some("hooksUser")));
    choose(&ann, 1, Some("ann")).await.unwrap();
    assert_eq!(refused(choose(&house.admin, 2, Some("nobody")).await), "USER_UNKNOWN");
    choose(&house.admin, 2, Some("bob")).await.unwrap();
    // What a global administrator chose may stay.
    choose(&ann, 3, Some("bob")).await.unwrap();
    let deleted = deployer::accounts::users::delete(&house.deployer, &house.admin, "bob").await;
    assert_eq!(refused(deleted), "IN_USE");
    choose(&ann, 4, None).await.unwrap();
}

#[tokio::test]
async fn deleting_leaves_nothing_and_never_says_what_uses_it() {
    let house = house().await;
    house.infrastructure("prod", Level::Deploy).await;
    house
        .sql("INSERT INTO deployment (id, project_key, infrastructure_id, bundle_id, deployed_project_key, settings, version, last_run_no, created_at, created_by, updated_at, updated_by) VALUES ('SECRET_DEPLOYMENT', 'P', 'prod', 'v1', 'P', '{}', 1, 0, 0, 'x', 0, 'x')")
        .await;
    let (dev, ops) = (viewer("bob", &["dev"]), viewer("ann", &["ops"]));
    assert_eq!(refused(infrastructures::delete(&house.deployer, &dev, "prod").await), "FORBIDDEN");
    let used = infrastructures::delete(&house.deployer, &ops, "prod").await;
    assert!(!format!("{used:?}").contains("SECRET_DEPLOYMENT"));
    assert_eq!(refused(used), "IN_USE");
    house.sql("DELETE FROM deployment").await;
    infrastructures::delete(&house.deployer, &ops, "prod").await.unwrap();
    let db = house.deployer.db.pool();
    assert_eq!(infrastructure::Entity::find().all(db).await.unwrap(), []);
    assert_eq!(secret::Entity::find().all(db).await.unwrap(), []);
    assert_eq!(entities::infrastructure_permission::Entity::find().all(db).await.unwrap(), []);
    assert_eq!(refused(infrastructures::delete(&house.deployer, &ops, "prod").await), "NOT_FOUND");
}

#[tokio::test]
async fn a_check_reaches_the_node_with_the_stored_key() {
    let house = house().await;
    let node = sandbox::Node::builder()
        .node_id("practice")
        .admin_key("good-key")
        .user("ann", &[], false)
        .user_key("small-key", "ann")
        .start("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    house.infrastructure("prod", Level::Deploy).await;
    let mut version = 1;
    let mut check = async |text: &str| {
        let patch = InfrastructurePatch { admin_key: key(text), ..settings(url(&node.url())) };
        version = infrastructures::update(&house.deployer, &house.admin, "prod", version, patch).await.unwrap().version;
        let mut checked = infrastructures::check(&house.deployer, &house.admin, "prod").await.unwrap();
        assert_eq!((checked.len(), checked[0].name.as_deref()), (1, None));
        checked.remove(0).outcome
    };
    let CheckOutcome::Reached(report) = check("good-key").await else { panic!("not reached") };
    assert_eq!((report.node_id.as_deref(), report.is_admin, report.problems.len()), (Some("practice"), true, 0));
    let CheckOutcome::Reached(report) = check("small-key").await else { panic!("not reached") };
    assert!(!report.is_admin && report.problems.len() == 1);
    let CheckOutcome::Failed(failure) = check("wrong-key").await else { panic!("reached") };
    assert_eq!(failure.code.as_str(), "NODE_KEY_REJECTED");
    assert!(!format!("{failure:?}").contains("wrong-key"));
    let dev = viewer("bob", &["dev"]);
    assert_eq!(refused(infrastructures::check(&house.deployer, &dev, "prod").await), "FORBIDDEN");
}

#[tokio::test]
async fn the_spec_holds_the_settings_and_no_key() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    let row = row(&house, "prod").await;
    let settings = Settings::read(&row.settings).unwrap();
    let spec = infrastructures::to_spec(&row, &settings).unwrap();
    assert_eq!(Some(&spec.node.key), row.key_ref.as_ref());
    assert_eq!((spec.node.url.as_str(), spec.node.settle_ms), ("https://node.example.com", settings.settle_ms));
    assert!(!serde_json::to_string(&spec).unwrap().contains("node-key"));
    let without = infrastructure::Model { key_ref: None, ..row };
    assert_eq!(refused(infrastructures::to_spec(&without, &settings)), "ADMIN_KEY_MISSING");
}

#[tokio::test]
async fn rights_are_bounded() {
    let house = house().await;
    house.infrastructure("PROD", Level::View).await;
    let many: Vec<_> = (0..201).map(|n| Permission { group: format!("group-{n}"), level: Level::View }).collect();
    let set = infrastructures::set_permissions(&house.deployer, &house.admin, "PROD", 1, &many).await;
    assert_eq!(refused(set), "TOO_MANY");
    let patch = InfrastructurePatch { permissions: Some(many.clone()), ..Default::default() };
    assert_eq!(refused(infrastructures::update(&house.deployer, &house.admin, "PROD", 1, patch).await), "TOO_MANY");
    let new = NewInfrastructure { id: "MORE".to_owned(), permissions: many.clone(), ..Default::default() };
    assert_eq!(refused(infrastructures::create(&house.deployer, &house.admin, new).await), "TOO_MANY");
    let bob = viewer("bob", &[]);
    let hidden = infrastructures::set_permissions(&house.deployer, &bob, "PROD", 1, &many).await;
    assert_eq!(refused(hidden), "NOT_FOUND");
}
