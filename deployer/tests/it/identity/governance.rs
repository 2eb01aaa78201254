//! Governance sources: what is validated, who sees what, and when the key is cleared.

use deployer::{
    infrastructures::{self, InfrastructurePatch, SettingsPatch},
    rights::Level,
    sealed,
};
use engine::secrets::Secret;
use entities::{infrastructure, secret};
use sea_orm::EntityTrait as _;
use targets::spec::{GovernCheckPolicy, ProjectStandardsPolicy};

use crate::identity::support::{House, house, refusals, viewer};

fn source(url: Option<&str>, key: Option<Option<&str>>) -> InfrastructurePatch {
    let settings = SettingsPatch { governance_url: Some(url.map(str::to_owned)), ..SettingsPatch::default() };
    let governance_key = key.map(|key| key.map(|key| Secret::from(key.to_owned())));
    InfrastructurePatch { settings, governance_key, ..InfrastructurePatch::default() }
}

async fn stored(house: &House) -> Option<String> {
    let db = &house.deployer.db;
    let row = infrastructure::Entity::find_by_id("prod").one(db.pool()).await.unwrap().unwrap();
    let key = sealed::open(db, &house.deployer.keyring, &row.governance_key_ref?).await.unwrap().unwrap();
    Some(key.expose().to_owned())
}

#[tokio::test]
async fn another_place_clears_the_sources_key_and_leaves_the_nodes() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    let mut version = 1;
    let mut update = async |patch| {
        let seen = infrastructures::update(&house.deployer, &house.admin, "prod", version, patch).await.unwrap();
        version = seen.version;
        let stored = stored(&house).await;
        assert_eq!((seen.has_governance_key, seen.has_admin_key), (Some(stored.is_some()), Some(true)));
        stored
    };
    let entered = update(source(Some("https://govern.example.com/check/"), Some(Some("govern-key")))).await;
    assert_eq!(entered.as_deref(), Some("govern-key"));
    let path = update(source(Some("https://govern.example.com:443/other"), None)).await;
    assert_eq!(path.as_deref(), Some("govern-key"));
    assert_eq!(update(InfrastructurePatch::default()).await.as_deref(), Some("govern-key"));
    for other in [
        Some("http://govern.example.com/check"),
        Some("https://elsewhere.example.com/check"),
        Some("https://govern.example.com:444/check"),
        None,
    ] {
        let home = update(source(Some("https://govern.example.com/check"), Some(Some("again")))).await;
        assert_eq!(home.as_deref(), Some("again"));
        assert_eq!(update(source(other, None)).await, None, "{other:?}");
    }
    assert_eq!(update(source(Some("https://new.example.com"), Some(Some("new")))).await.as_deref(), Some("new"));
    assert_eq!(update(source(Some("https://new.example.com"), Some(None))).await, None);
    // The node's key is the only secret left, and with the infrastructure all of them go.
    let secrets = async || secret::Entity::find().all(house.deployer.db.pool()).await.unwrap();
    assert_eq!(secrets().await.len(), 1);
    update(source(Some("https://new.example.com"), Some(Some("last")))).await;
    assert!(secrets().await.iter().all(|row| !row.sealed.contains("last")));
    infrastructures::delete(&house.deployer, &house.admin, "prod").await.unwrap();
    assert_eq!(secrets().await, []);
}

#[tokio::test]
async fn a_sweep_keeps_what_is_in_use() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    let patch = source(Some("https://govern.example.com"), Some(Some("govern-key")));
    infrastructures::update(&house.deployer, &house.admin, "prod", 1, patch).await.unwrap();
    assert_eq!(sealed::sweep(&house.deployer.db).await.unwrap(), 0);
    house.sql("UPDATE infrastructure SET governance_key_ref = NULL").await;
    assert_eq!(sealed::sweep(&house.deployer.db).await.unwrap(), 1);
    assert_eq!(secret::Entity::find().all(house.deployer.db.pool()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_field() {
    let house = house().await;
    house.infrastructure("prod", Level::Deploy).await;
    let patch = source(Some("http://169.254.169.254/latest"), Some(Some("a\nb")));
    let all = refusals(infrastructures::update(&house.deployer, &house.admin, "prod", 1, patch).await);
    let told: Vec<_> = all.iter().map(|refusal| (refusal.code, refusal.field.as_deref().unwrap_or_default())).collect();
    assert_eq!(told, [("NODE_ADDRESS_FORBIDDEN", "governanceUrl"), ("ADMIN_KEY_INVALID", "governanceKey")]);
    let seen = infrastructures::get(&house.deployer, &house.admin, "prod").await.unwrap().unwrap();
    let settings = seen.settings.unwrap();
    assert_eq!((seen.version, settings.governance_url), (1, None));
    assert_eq!(settings.govern_check_policy, GovernCheckPolicy::NoCheck);
    assert_eq!(settings.project_standards_policy, ProjectStandardsPolicy::Ignore);
    let seen = infrastructures::get(&house.deployer, &viewer("bob", &["dev"]), "prod").await.unwrap().unwrap();
    assert_eq!((seen.settings, seen.has_governance_key), (None, None));
}
