//! Users, groups, and the administrator that stays.

use deployer::{
    accounts::{
        groups,
        users::{self, AccountKind, NewUser, UserFilter, UserPatch},
    },
    audit,
    bootstrap::{self, Operator},
    infrastructures, keys,
    paging::Page,
    projects,
    rights::{self, Level},
};

use serde_json::json;

use crate::identity::support::{empty, house, refused, set, viewer};

#[tokio::test]
async fn the_first_start_makes_one_administrator_once() {
    let house = empty().await;
    let db = &house.deployer.db;
    let (one, two) = tokio::join!(bootstrap::first_start(db, None), bootstrap::first_start(db, None));
    let made: Vec<_> = [one.unwrap(), two.unwrap()].into_iter().flatten().collect();
    assert_eq!(made.len(), 1);
    let admin = keys::authenticate(db, made[0].expose()).await.unwrap().unwrap();
    assert!(admin.is_admin());
    assert_eq!(admin.login, "admin");
    assert!(bootstrap::first_start(db, None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_given_key_is_taken_or_refused_without_being_repeated() {
    let house = empty().await;
    let db = &house.deployer.db;
    let bad = bootstrap::first_start(db, Some(&"changeme-changeme-changeme-changeme".to_owned().into())).await;
    assert!(!format!("{bad:?}").contains("changeme"));
    assert_eq!(refused(bad), "ADMIN_KEY_MALFORMED");
    let given = engine::secrets::ApiKey::generate();
    let made = bootstrap::first_start(db, Some(&given.expose().to_owned().into())).await.unwrap().unwrap();
    assert_eq!(made.expose(), given.expose());
    assert!(keys::authenticate(db, given.expose()).await.unwrap().is_some());
}

#[tokio::test]
async fn an_account_called_admin_is_not_raised_by_itself() {
    let house = empty().await;
    let db = &house.deployer.db;
    bootstrap::create_user(db, Operator::at_the_database(), "admin", None, &set(&[]), AccountKind::Personal)
        .await
        .unwrap();
    assert!(bootstrap::first_start(db, None).await.unwrap().is_none());
    let op = Operator::at_the_database();
    bootstrap::create_user(db, op, "root", Some("Root"), &set(&["administrators"]), AccountKind::Personal)
        .await
        .unwrap();
    let (_, key) = bootstrap::create_key(db, op, "root", "emergency", None).await.unwrap();
    assert!(keys::authenticate(db, key.expose()).await.unwrap().unwrap().is_admin());
}

#[tokio::test]
async fn the_operator_works_without_a_viewer() {
    let house = house().await;
    let (db, op) = (&house.deployer.db, Operator::at_the_database());
    bootstrap::create_group(db, op, "night shift", "").await.unwrap();
    assert_eq!(refused(bootstrap::create_group(db, op, "night shift", "").await), "ID_NOT_AVAILABLE");
    assert_eq!(
        refused(bootstrap::create_user(db, op, "ann", None, &set(&["no such"]), AccountKind::Personal).await),
        "GROUP_UNKNOWN"
    );
    bootstrap::create_user(db, op, "ann", None, &set(&[]), AccountKind::Personal).await.unwrap();
    bootstrap::add_to_group(db, op, "ann", "night shift").await.unwrap();
    bootstrap::add_to_group(db, op, "ann", "night shift").await.unwrap();
    let ann = users::get(&house.deployer, &house.admin, "ann").await.unwrap().unwrap();
    assert_eq!(ann.groups, set(&["night shift"]));
    bootstrap::remove_from_group(db, op, "ann", "night shift").await.unwrap();
    assert_eq!(refused(bootstrap::add_to_group(db, op, "bob", "dev").await), "NOT_FOUND");
    assert_eq!(refused(bootstrap::add_to_group(db, op, "ann", "none").await), "GROUP_UNKNOWN");
    assert_eq!(refused(bootstrap::remove_from_group(db, op, "admin", "administrators").await), "LAST_ADMINISTRATOR");
    assert_eq!(refused(bootstrap::set_user_enabled(db, op, "admin", false).await), "LAST_ADMINISTRATOR");
    bootstrap::set_user_enabled(db, op, "ann", false).await.unwrap();
    bootstrap::delete_user(db, op, "ann").await.unwrap();
    bootstrap::delete_group(db, op, "night shift").await.unwrap();
    assert_eq!(refused(bootstrap::delete_group(db, op, "night shift").await), "NOT_FOUND");
}

#[tokio::test]
async fn only_administrators_change_accounts_and_all_see_them() {
    let house = house().await;
    let bob = house.user("bob", &["dev"]).await;
    let deployer = &house.deployer;
    let new = || NewUser { login: "eve".to_owned(), ..NewUser::default() };
    assert_eq!(refused(users::create(deployer, &bob, new()).await), "FORBIDDEN");
    assert_eq!(refused(users::update(deployer, &bob, "bob", UserPatch::default()).await), "FORBIDDEN");
    assert_eq!(refused(users::delete(deployer, &bob, "admin").await), "FORBIDDEN");
    assert_eq!(refused(groups::create(deployer, &bob, "g", "").await), "FORBIDDEN");
    assert_eq!(refused(groups::describe(deployer, &bob, "dev", "").await), "FORBIDDEN");
    assert_eq!(refused(groups::delete(deployer, &bob, "dev").await), "FORBIDDEN");

    let page = Page::new(Some(1), None).unwrap();
    let first = users::list(deployer, &bob, &UserFilter::default(), &page).await.unwrap();
    assert_eq!(first.items[0].1.login, "admin");
    assert!(first.has_next);
    let page = Page::new(Some(1), Some(&first.items[0].0)).unwrap();
    let second = users::list(deployer, &bob, &UserFilter::default(), &page).await.unwrap();
    assert_eq!((second.items[0].1.login.as_str(), second.has_next), ("bob", false));
    assert_eq!(users::count(deployer, &bob, &UserFilter::default()).await.unwrap(), 2);
    let filter = UserFilter { text: Some("BO".to_owned()), group: Some("dev".to_owned()), kind: None };
    assert_eq!(users::count(deployer, &bob, &filter).await.unwrap(), 1);
    let filter = UserFilter { text: Some("b%b".to_owned()), ..Default::default() };
    assert_eq!(users::count(deployer, &bob, &filter).await.unwrap(), 0);
    assert_eq!(groups::count(deployer, &bob, None).await.unwrap(), 4);
    let page = Page::new(None, None).unwrap();
    assert_eq!(groups::list(deployer, &bob, Some("d"), &page).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn what_a_login_and_a_group_may_be() {
    let house = house().await;
    for login in ["", "a b", "a/b", "ü", "..", "a\0", &"x".repeat(101)] {
        let new = NewUser { login: login.to_owned(), display_name: Some("x".to_owned()), ..NewUser::default() };
        assert_eq!(refused(users::create(&house.deployer, &house.admin, new).await), "LOGIN_INVALID", "{login:?}");
    }
    let new = NewUser { login: "x".to_owned(), display_name: Some("a\nb".to_owned()), ..NewUser::default() };
    assert_eq!(refused(users::create(&house.deployer, &house.admin, new).await), "TEXT_INVALID");
    let new = NewUser { login: "admin".to_owned(), ..NewUser::default() };
    assert_eq!(refused(users::create(&house.deployer, &house.admin, new).await), "ID_NOT_AVAILABLE");
    assert_eq!(refused(groups::create(&house.deployer, &house.admin, "a#b", "").await), "ID_INVALID");
    for absent in ["nobody", "a\0b"] {
        let patch = UserPatch::default();
        assert_eq!(refused(users::update(&house.deployer, &house.admin, absent, patch).await), "NOT_FOUND");
        assert_eq!(refused(users::delete(&house.deployer, &house.admin, absent).await), "NOT_FOUND");
        assert!(users::get(&house.deployer, &house.admin, absent).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn the_last_enabled_administrator_stays() {
    let house = house().await;
    let deployer = &house.deployer;
    let disable = || UserPatch { enabled: Some(false), ..UserPatch::default() };
    let leave = || UserPatch { groups: Some(set(&["dev"])), ..UserPatch::default() };
    assert_eq!(refused(users::update(deployer, &house.admin, "admin", disable()).await), "LAST_ADMINISTRATOR");
    assert_eq!(refused(users::update(deployer, &house.admin, "admin", leave()).await), "LAST_ADMINISTRATOR");
    assert_eq!(refused(users::delete(deployer, &house.admin, "admin").await), "LAST_ADMINISTRATOR");
    assert_eq!(refused(groups::delete(deployer, &house.admin, "administrators").await), "LAST_ADMINISTRATOR");

    // A disabled second one does not count.
    house.user("second", &["administrators"]).await;
    users::update(deployer, &house.admin, "second", disable()).await.unwrap();
    assert_eq!(refused(users::delete(deployer, &house.admin, "admin").await), "LAST_ADMINISTRATOR");
    let enable = UserPatch { enabled: Some(true), ..UserPatch::default() };
    users::update(deployer, &house.admin, "second", enable).await.unwrap();

    // Each removes the other: one of them is refused.
    let second = viewer("second", &["administrators"]);
    let (one, two) = tokio::join!(
        users::update(deployer, &house.admin, "second", disable()),
        users::update(deployer, &second, "admin", disable()),
    );
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|done| **done).count(), 1);
}

#[tokio::test]
async fn a_group_made_again_has_no_rights_of_the_old_one() {
    let house = house().await;
    let bob = house.user("bob", &["dev"]).await;
    house.infrastructure("prod", Level::Deploy).await;
    let level = async || rights::infrastructure_level(house.deployer.db.pool(), &bob, "prod").await.unwrap();
    assert_eq!(level().await, Level::Deploy);
    let project = projects::create(&house.deployer, &house.admin, "CHURN", None).await.unwrap();
    let read = projects::Permission { group: "dev".to_owned(), read: true, write: false, deploy: false, admin: false };
    let change =
        projects::Change { expected_version: project.version, permissions: Some(vec![read]), ..Default::default() };
    let project = projects::update(&house.deployer, &house.admin, "CHURN", change).await.unwrap();
    groups::delete(&house.deployer, &house.admin, "dev").await.unwrap();
    // A change of both, for whoever edits them and whoever reads their audits.
    let place = infrastructures::get(&house.deployer, &house.admin, "prod").await.unwrap().unwrap();
    let now = projects::get(&house.deployer, &house.admin, "CHURN").await.unwrap().unwrap();
    assert_eq!((place.version, now.version), (2, project.version + 1));
    let by_action = audit::list::Filter { action: Some("deleteGroup".to_owned()), ..Default::default() };
    let page = Page::new(Some(10), None).unwrap();
    let records = audit::list::list(&house.deployer, &house.admin, &by_action, &page).await.unwrap().items;
    let told: Vec<_> = records.iter().map(|(_, one)| (one.object_id.as_str(), one.before.clone())).collect();
    assert_eq!(told[0], ("CHURN", json!({"permissions.dev": ["READ"]})));
    assert_eq!(told[1], ("prod", json!({"permissions.dev": "DEPLOY"})));
    assert_eq!((told.len(), told[2].0), (3, "dev"));
    groups::create(&house.deployer, &house.admin, "dev", "").await.unwrap();
    assert_eq!(level().await, Level::None);
    assert_eq!(users::get(&house.deployer, &house.admin, "bob").await.unwrap().unwrap().groups, set(&[]));
}

#[tokio::test]
async fn an_owner_is_not_deleted() {
    let house = house().await;
    house.user("bob", &[]).await;
    house.sql("INSERT INTO published_project (key, name, owner, version, created_at, created_by) VALUES ('CHURN', 'Churn', 'bob', 1, 0, 'bob')").await;
    assert_eq!(refused(users::delete(&house.deployer, &house.admin, "bob").await), "IN_USE");
    house.sql("UPDATE published_project SET owner = 'admin'").await;
    users::delete(&house.deployer, &house.admin, "bob").await.unwrap();
}

#[tokio::test]
async fn filters_that_nothing_can_meet_are_met_by_nothing() {
    let house = house().await;
    let page = Page::new(None, None).unwrap();
    let text = |text: String| UserFilter { text: Some(text), ..Default::default() };
    let group = UserFilter { group: Some("o\0ps".to_owned()), ..Default::default() };
    for filter in [group, text("x".repeat(201)), text("x".repeat(60_000))] {
        assert!(users::list(&house.deployer, &house.admin, &filter, &page).await.unwrap().items.is_empty());
        assert_eq!(users::count(&house.deployer, &house.admin, &filter).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn changes_that_meet_take_turns() {
    let house = house().await;
    for id in ["a", "b"] {
        house.infrastructure(id, Level::View).await;
    }
    let (deployer, admin) = (&house.deployer, &house.admin);
    let rights = async |id: &str| {
        for _ in 0..10 {
            let version = infrastructures::get(deployer, admin, id).await.unwrap().unwrap().version;
            let permissions = ["ops", "administrators", "dev"]
                .map(|group| infrastructures::Permission { group: group.to_owned(), level: Level::Admin });
            infrastructures::set_permissions(deployer, admin, id, version, &permissions).await.unwrap();
        }
    };
    let groups = async || {
        for n in 0..10 {
            let name = format!("g{n}");
            groups::create(deployer, admin, &name, "").await.unwrap();
            let groups = Some(set(&["administrators", &name]));
            let patch = UserPatch { groups, enabled: Some(true), ..Default::default() };
            users::update(deployer, admin, "admin", patch).await.unwrap();
            groups::delete(deployer, admin, &name).await.unwrap();
        }
    };
    tokio::join!(rights("a"), groups(), rights("b"));
}

#[tokio::test]
async fn a_technical_account_is_made_by_global_administrators_and_makes_no_keys() {
    let house = house().await;
    let new = |login: &str| NewUser { login: login.to_owned(), kind: AccountKind::Technical, ..NewUser::default() };
    let bob = house.user("bob", &["dev"]).await;
    assert_eq!(refused(users::create(&house.deployer, &bob, new("robot")).await), "FORBIDDEN");
    let made = users::create(&house.deployer, &house.admin, new("robot")).await.unwrap();
    assert_eq!(made.kind, AccountKind::Technical);
    let page = deployer::paging::Page::new(None, None).unwrap();
    let filter = users::UserFilter { kind: Some(AccountKind::Technical), ..Default::default() };
    let found = users::list(&house.deployer, &bob, &filter, &page).await.unwrap();
    assert_eq!(found.items.into_iter().map(|(_, user)| user.login).collect::<Vec<_>>(), ["robot"]);
    let key =
        |login: &str| keys::NewKey { login: Some(login.to_owned()), label: "ci".to_owned(), ..Default::default() };
    let (_, secret) = keys::create(&house.deployer, &house.admin, key("robot")).await.unwrap();
    let robot = keys::authenticate(&house.deployer.db, secret.expose()).await.unwrap().unwrap();
    assert_eq!(refused(keys::create(&house.deployer, &robot, key("robot")).await), "FORBIDDEN");
    assert!(keys::create(&house.deployer, &bob, key("bob")).await.is_ok(), "people make their own");
    let off = users::UserPatch { enabled: Some(false), ..Default::default() };
    users::update(&house.deployer, &house.admin, "robot", off).await.unwrap();
    assert!(keys::authenticate(&house.deployer.db, secret.expose()).await.unwrap().is_none(), "dead with its user");
}
