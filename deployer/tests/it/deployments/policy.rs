//! What must still hold when an update begins.

use deployer::{
    accounts::users,
    bundles, deployments,
    policy::{self, Asked},
    updates::{self, UpdateType},
};
use engine::{failure::StepError, runs};
use targets::spec::DeploySpec;

use crate::deployments::support::{key, permission, world};

fn code(result: Result<Vec<String>, StepError>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(StepError::Permanent(failure)) => failure.code.to_string(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_got_the_login_later_did_not_ask() {
    let world = world().await;
    let deployer = &world.deployer;
    let alice = world.somebody("deploy", "deploy").await;
    world.deployment("d", "CHURN").await;
    let run = updates::start(deployer, &alice, "d", Some("k")).await.unwrap().update.id;
    let state = runs::load(deployer.db.pool(), run).await.unwrap().unwrap().state;
    let spec: DeploySpec = serde_json::from_value(state.spec.body.clone()).unwrap();
    let asked = Asked { requester: &alice.login, at: state.requested_at };
    let check = async || code(policy::check(deployer, asked, &spec, UpdateType::Update, false).await);
    assert_eq!(check().await, "OK");
    users::delete(deployer, &world.root, &alice.login).await.unwrap();
    assert_eq!(check().await, "POLICY_REQUESTER_GONE");
    let new = users::NewUser { login: alice.login.clone(), groups: alice.groups.clone(), ..Default::default() };
    users::create(deployer, &world.root, new).await.unwrap();
    assert_eq!(check().await, "POLICY_REQUESTER_GONE");
    // Nor are they answered with what the other one asked for.
    let own = updates::start(deployer, &alice, "d", Some("k")).await.unwrap();
    assert!(!own.repeated && own.update.id != run);
}

#[tokio::test]
async fn each_rule() {
    let world = world().await;
    let deployer = &world.deployer;
    let alice = world.somebody("deploy", "deploy").await;
    world.deployment("d", "CHURN").await;
    let run = updates::start(deployer, &alice, "d", None).await.unwrap().update.id;
    let spec = runs::load(deployer.db.pool(), run).await.unwrap().unwrap().state.spec.body.clone();
    let spec: DeploySpec = serde_json::from_value(spec).unwrap();
    let check = async |login: &str, spec: &DeploySpec| {
        let asked = Asked { requester: login, at: i64::MAX };
        code(policy::check(deployer, asked, spec, UpdateType::Update, false).await)
    };
    assert_eq!(check(&alice.login, &spec).await, "OK");
    assert_eq!(check("nobody", &spec).await, "POLICY_REQUESTER_GONE");
    let mut other = spec.clone();
    other.package.sha256 = "00".repeat(32);
    assert_eq!(check(&alice.login, &other).await, "POLICY_PACKAGE_GONE");
    other.deployment = "absent".to_owned();
    assert_eq!(check(&alice.login, &other).await, "POLICY_RIGHT_LOST");

    world.set_permissions("CHURN", vec![permission("of-deploy", "read")]).await;
    assert_eq!(check(&alice.login, &spec).await, "POLICY_RIGHT_LOST");
    world.set_permissions("CHURN", vec![permission("of-deploy", "deploy")]).await;
    assert_eq!(check(&alice.login, &spec).await, "OK");
    let off = users::UserPatch { enabled: Some(false), ..Default::default() };
    users::update(deployer, &world.root, &alice.login, off).await.unwrap();
    assert_eq!(check(&alice.login, &spec).await, "POLICY_REQUESTER_GONE");
    let on = users::UserPatch { enabled: Some(true), ..Default::default() };
    users::update(deployer, &world.root, &alice.login, on).await.unwrap();

    updates::cancel(deployer, &alice, run).await.unwrap();
    deployments::delete(deployer, &alice, "d").await.unwrap();
    world.deployment("d", "CHURN").await;
    assert_eq!(check(&alice.login, &spec).await, "OK");
    // Bytes lost from the store.
    std::fs::remove_dir_all(world.folder.path().join("packages")).unwrap();
    assert_eq!(check(&alice.login, &spec).await, "POLICY_PACKAGE_GONE");
    // What deploys nothing needs none.
    let off =
        policy::check(deployer, Asked { requester: &alice.login, at: i64::MAX }, &spec, UpdateType::Disable, false)
            .await;
    assert_eq!(code(off), "OK");
    assert_eq!(
        crate::deployments::support::code(&bundles::open(deployer, &world.root, &key("CHURN", "v1")).await),
        "PACKAGE_NOT_FOUND"
    );
}
