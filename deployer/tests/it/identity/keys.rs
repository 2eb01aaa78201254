//! The life of a key.

use deployer::{
    accounts::{
        groups,
        users::{self, UserPatch},
    },
    keys::{self, MOST_KEYS, NewKey},
    paging::Page,
    viewer::{Origin, Via, Viewer},
};
use engine::{ids::RunId, secrets::ApiKey};

use crate::identity::support::{House, house, refusals, refused, set};

async fn who(house: &House, key: &ApiKey) -> Option<String> {
    keys::authenticate(&house.deployer.db, key.expose()).await.unwrap().map(|viewer| viewer.login)
}

fn labelled(label: &str) -> NewKey {
    NewKey { label: label.to_owned(), ..NewKey::default() }
}

#[tokio::test]
async fn made_used_revoked() {
    let house = house().await;
    let bob = house.user("bob", &["dev", "ops"]).await;
    let (view, key) = keys::create(&house.deployer, &bob, labelled("laptop")).await.unwrap();
    assert_eq!(view.id, key.prefix());
    let seen = keys::authenticate(&house.deployer.db, key.expose()).await.unwrap().unwrap();
    assert_eq!((seen.login.as_str(), &seen.groups), ("bob", &set(&["dev", "ops"])));
    assert_eq!(seen.key_id.as_deref(), Some(key.prefix()));

    let page = Page::new(None, None).unwrap();
    let mine = keys::list(&house.deployer, &bob, None, &page).await.unwrap();
    let used = mine.items[0].1.last_used_at.unwrap();
    // Within the minute it is not written again.
    who(&house, &key).await;
    let mine = keys::list(&house.deployer, &bob, None, &page).await.unwrap();
    assert_eq!(mine.items[0].1.last_used_at, Some(used));
    house.sql(&format!("UPDATE api_key SET last_used_at = {} WHERE login = 'bob'", used - 61_000_000)).await;
    who(&house, &key).await;
    let mine = keys::list(&house.deployer, &bob, None, &page).await.unwrap();
    assert!(mine.items[0].1.last_used_at.unwrap() >= used);

    let revoked = keys::revoke(&house.deployer, &bob, key.prefix()).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(who(&house, &key).await, None);
    assert_eq!(keys::refresh(&house.deployer.db, &seen).await.unwrap(), None);
    assert_eq!(keys::revoke(&house.deployer, &bob, key.prefix()).await.unwrap(), revoked);
}

#[tokio::test]
async fn nothing_of_a_key_is_stored_but_prefix_and_hash() {
    let house = house().await;
    let (view, key) = keys::create(&house.deployer, &house.admin, labelled("x")).await.unwrap();
    assert!(!format!("{view:?}").contains(key.expose()));
    use sea_orm::EntityTrait as _;
    let rows = entities::api_key::Entity::find().all(house.deployer.db.pool()).await.unwrap();
    assert!(!format!("{rows:?}").contains(&key.expose()[13..]));
}

#[tokio::test]
async fn a_wrong_secret_with_a_right_prefix_is_nobody() {
    let house = house().await;
    let (_, key) = keys::create(&house.deployer, &house.admin, labelled("x")).await.unwrap();
    let other = ApiKey::generate();
    let forged = format!("{}{}", key.prefix(), &other.expose()[key.prefix().len()..]);
    assert!(keys::authenticate(&house.deployer.db, &forged).await.unwrap().is_none());
    for text in ["", "slw_", other.expose(), "slw_\0", "Bearer x"] {
        assert!(keys::authenticate(&house.deployer.db, text).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_disabled_or_deleted_user_is_nobody_at_once() {
    let house = house().await;
    let bob = house.user("bob", &["dev"]).await;
    let (_, key) = keys::create(&house.deployer, &bob, labelled("x")).await.unwrap();
    let seen = keys::authenticate(&house.deployer.db, key.expose()).await.unwrap().unwrap();
    let enabled = |enabled| UserPatch { enabled: Some(enabled), ..UserPatch::default() };
    users::update(&house.deployer, &house.admin, "bob", enabled(false)).await.unwrap();
    assert_eq!(who(&house, &key).await, None);
    assert_eq!(refused(keys::create(&house.deployer, &bob, labelled("y")).await), "NOT_FOUND");
    assert_eq!(keys::viewer_of(&house.deployer.db, "bob").await.unwrap(), None);
    users::update(&house.deployer, &house.admin, "bob", enabled(true)).await.unwrap();
    assert_eq!(who(&house, &key).await.as_deref(), Some("bob"));

    // Groups are those of the moment.
    let patch = UserPatch { groups: Some(set(&["ops"])), ..UserPatch::default() };
    users::update(&house.deployer, &house.admin, "bob", patch).await.unwrap();
    let now = keys::refresh(&house.deployer.db, &seen).await.unwrap().unwrap();
    assert_eq!(now.groups, set(&["ops"]));
    assert_eq!(keys::viewer_of(&house.deployer.db, "bob").await.unwrap().unwrap().groups, set(&["ops"]));

    users::delete(&house.deployer, &house.admin, "bob").await.unwrap();
    assert_eq!(who(&house, &key).await, None);
    // Somebody else with the same login does not inherit it.
    house.user("bob", &[]).await;
    assert_eq!(who(&house, &key).await, None);
}

#[tokio::test]
async fn expiry() {
    let house = house().await;
    let now = house.deployer.db.now().await.unwrap();
    let until = |at| NewKey { expires_at: Some(at), ..labelled("x") };
    assert_eq!(refused(keys::create(&house.deployer, &house.admin, until(now)).await), "EXPIRY_INVALID");
    let (_, key) = keys::create(&house.deployer, &house.admin, until(now + 3_600_000_000)).await.unwrap();
    assert!(who(&house, &key).await.is_some());
    house.sql(&format!("UPDATE api_key SET expires_at = {now} WHERE id = '{}'", key.prefix())).await;
    assert_eq!(who(&house, &key).await, None);
}

#[tokio::test]
async fn others_keys_are_for_administrators() {
    let house = house().await;
    let bob = house.user("bob", &["dev"]).await;
    let eve = house.user("eve", &["dev"]).await;
    let for_bob = || NewKey { login: Some("bob".to_owned()), ..labelled("x") };
    assert_eq!(refused(keys::create(&house.deployer, &eve, for_bob()).await), "FORBIDDEN");
    let (_, key) = keys::create(&house.deployer, &house.admin, for_bob()).await.unwrap();
    assert_eq!(who(&house, &key).await.as_deref(), Some("bob"));
    let page = Page::new(None, None).unwrap();
    assert_eq!(refused(keys::list(&house.deployer, &eve, Some("bob"), &page).await), "FORBIDDEN");
    // Somebody else's key answers like none at all.
    let hidden = keys::revoke(&house.deployer, &eve, key.prefix()).await;
    let absent = keys::revoke(&house.deployer, &eve, "slw_nothere1").await;
    assert_eq!(format!("{hidden:?}"), format!("{absent:?}"));
    assert_eq!(refused(hidden), "NOT_FOUND");
    assert_eq!(keys::list(&house.deployer, &bob, None, &page).await.unwrap().items.len(), 1);
    keys::revoke(&house.deployer, &house.admin, key.prefix()).await.unwrap();
    assert_eq!(refused(keys::create(&house.deployer, &eve, labelled(" ")).await), "TEXT_INVALID");
}

#[tokio::test]
async fn a_user_has_so_many_keys() {
    let house = house().await;
    let bob = house.user("bob", &[]).await;
    for n in 0..MOST_KEYS {
        house
            .sql(&format!("INSERT INTO api_key (id, login, label, hash, created_at) VALUES ('k{n}', 'bob', '', '', 0)"))
            .await;
    }
    assert_eq!(refused(keys::create(&house.deployer, &bob, labelled("x")).await), "TOO_MANY_KEYS");
    keys::revoke(&house.deployer, &bob, "k7").await.unwrap();
    keys::create(&house.deployer, &bob, labelled("x")).await.unwrap();
}

#[tokio::test]
async fn a_hook_key_dies_with_its_run_and_makes_no_other() {
    let house = house().await;
    house.user("bob", &["dev"]).await;
    house
        .sql(
            "INSERT INTO run (id, deployment_id, run_no, status, epoch, seq, attempt, requester, requested_at) \
             VALUES (7, 'd', 1, 'RUNNING', 1, 1, 0, 'bob', 0)",
        )
        .await;
    let db = &house.deployer.db;
    let key = keys::mint_for_hooks(&house.deployer, RunId(7), "bob").await.unwrap().unwrap();
    let viewer = keys::authenticate(db, key.expose()).await.unwrap().unwrap();
    assert_eq!(viewer.login, "bob");
    assert_eq!(refused(keys::create(&house.deployer, &viewer, labelled("more")).await), "FORBIDDEN");
    let page = Page::new(None, None).unwrap();
    assert!(keys::list(&house.deployer, &viewer, None, &page).await.unwrap().items.is_empty());
    house.sql("UPDATE run SET ended_at = 1, status = 'SUCCEEDED'").await;
    assert!(keys::authenticate(db, key.expose()).await.unwrap().is_none());
    assert!(keys::mint_for_hooks(&house.deployer, RunId(7), "nobody").await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_that_expires_makes_none_that_outlives_it() {
    let house = house().await;
    house.user("bob", &[]).await;
    let until = house.deployer.db.now().await.unwrap() + 3_600_000_000;
    let expiring = NewKey { login: Some("bob".to_owned()), expires_at: Some(until), ..labelled("short") };
    let (_, key) = keys::create(&house.deployer, &house.admin, expiring).await.unwrap();
    let bob = keys::authenticate(&house.deployer.db, key.expose()).await.unwrap().unwrap();
    let make = async |expires_at| keys::create(&house.deployer, &bob, NewKey { expires_at, ..labelled("x") }).await;
    for later in [None, Some(until + 1)] {
        let all = refusals(make(later).await);
        assert_eq!((all[0].code, all[0].field.as_deref()), ("EXPIRY_INVALID", Some("expiresAt")));
    }
    make(Some(until)).await.unwrap();
}

/// Somebody in these groups, with a key of their own.
async fn signed_in(house: &House, login: &str, groups: &[&str]) -> Viewer {
    house.user(login, groups).await;
    let new = NewKey { login: Some(login.to_owned()), ..labelled("x") };
    let (_, key) = keys::create(&house.deployer, &house.admin, new).await.unwrap();
    let viewer = keys::authenticate(&house.deployer.db, key.expose()).await.unwrap().unwrap();
    Viewer { origin: Origin { via: Via::GraphQl, ..Origin::default() }, ..viewer }
}

#[tokio::test]
async fn a_request_on_its_way_changes_nothing_once_its_key_is_dead() {
    let house = house().await;
    let deployer = &house.deployer;
    let make = async |viewer: &Viewer, name: &str| groups::create(deployer, viewer, name, "").await;
    // Its own key, by an earlier field of the same document. What ends the key is done.
    let ann = signed_in(&house, "ann", &["administrators"]).await;
    make(&ann, "one").await.unwrap();
    keys::revoke(deployer, &ann, ann.key_id.as_deref().unwrap()).await.unwrap();
    assert_eq!(refused(make(&ann, "two").await), "UNAUTHENTICATED");
    let stolen = NewKey { login: Some("admin".to_owned()), ..labelled("stolen") };
    assert_eq!(refused(keys::create(deployer, &ann, stolen).await), "UNAUTHENTICATED");
    // The user, disabled by somebody else; and by themselves.
    let off = || UserPatch { enabled: Some(false), ..UserPatch::default() };
    let bea = signed_in(&house, "bea", &["administrators"]).await;
    users::update(deployer, &house.admin, "bea", off()).await.unwrap();
    assert_eq!(refused(users::delete(deployer, &bea, "ann").await), "UNAUTHENTICATED");
    let cis = signed_in(&house, "cis", &["administrators"]).await;
    users::update(deployer, &cis, "cis", off()).await.unwrap();
    assert_eq!(refused(make(&cis, "two").await), "UNAUTHENTICATED");
    // Its key, expired.
    let dan = signed_in(&house, "dan", &["administrators"]).await;
    house.sql("UPDATE api_key SET expires_at = 1 WHERE login = 'dan'").await;
    assert_eq!(refused(make(&dan, "two").await), "UNAUTHENTICATED");
    // A group, left: what it gave is gone.
    let eve = signed_in(&house, "eve", &["administrators", "dev"]).await;
    let left = UserPatch { groups: Some(set(&["dev"])), ..UserPatch::default() };
    users::update(deployer, &eve, "eve", left).await.unwrap();
    assert_eq!(refused(make(&eve, "two").await), "FORBIDDEN");
    // A key that was made for a hook, whose run ended.
    let fay = signed_in(&house, "fay", &["administrators"]).await;
    house.sql("UPDATE api_key SET hooks_run_id = 7 WHERE login = 'fay'").await;
    assert_eq!(refused(make(&fay, "two").await), "UNAUTHENTICATED");
    assert!(groups::by_names(deployer, &house.admin, &["two".to_owned()]).await.unwrap().is_empty());
    // A group more is nothing lost.
    let gus = signed_in(&house, "gus", &["administrators"]).await;
    let more = UserPatch { groups: Some(set(&["administrators", "dev"])), ..UserPatch::default() };
    users::update(deployer, &house.admin, "gus", more).await.unwrap();
    make(&gus, "two").await.unwrap();
}

#[tokio::test]
async fn who_acts_for_another_does_so_with_their_own_key() {
    let house = house().await;
    let deployer = &house.deployer;
    let boss = signed_in(&house, "boss", &["administrators"]).await;
    house.user("root", &["administrators"]).await;
    let proxy = keys::act_for(deployer, &boss, "root").await.unwrap();
    groups::create(deployer, &proxy, "one", "").await.unwrap();
    let no_boss = UserPatch { groups: Some(set(&[])), ..UserPatch::default() };
    users::update(deployer, &house.admin, "boss", no_boss).await.unwrap();
    assert_eq!(refused(groups::create(deployer, &proxy, "two", "").await), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_hook_revokes_nobodys_key() {
    let house = house().await;
    let bob = house.user("bob", &[]).await;
    let (own, _) = keys::create(&house.deployer, &bob, labelled("laptop")).await.unwrap();
    let (minted, _) = keys::create(&house.deployer, &bob, labelled("as if minted")).await.unwrap();
    house.sql(&format!("UPDATE api_key SET hooks_run_id = 7 WHERE id = '{}'", minted.id)).await;
    let hook = Viewer { key_id: Some(minted.id), ..bob };
    assert_eq!(refused(keys::revoke(&house.deployer, &hook, &own.id).await), "FORBIDDEN");
}
