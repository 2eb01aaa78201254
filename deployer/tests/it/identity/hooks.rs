//! Hooks: immutable code, stable identities, administrators alone.

use deployer::{
    hooks::{self, Hook, HookCounts, HookInput, Phase},
    infrastructures::{self, InfrastructurePatch, SettingsPatch},
    rights::Level,
    viewer::Viewer,
};
use engine::{
    leases::{Lease, LeaseSettings},
    plan::OnInterrupt,
};
use entities::hook_code;
use sea_orm::{EntityTrait as _, PaginatorTrait as _};

use crate::identity::support::{House, house, refusals, refused, viewer};

fn hook(name: &str, code: &str) -> HookInput {
    HookInput {
        name: name.to_owned(),
        code: code.to_owned(),
        code_env: None,
        os_user: None,
        deadline_ms: None,
        enabled: None,
        on_interrupt: None,
    }
}

async fn put(house: &House, phase: Phase, hooks: Vec<HookInput>) -> Vec<Hook> {
    let version = infrastructures::get(&house.deployer, &house.admin, "prod").await.unwrap().unwrap().version;
    hooks::set_hooks(&house.deployer, &house.admin, "prod", phase, hooks, version).await.unwrap()
}

async fn codes(house: &House) -> u64 {
    hook_code::Entity::find().count(house.deployer.db.pool()).await.unwrap()
}

#[tokio::test]
async fn code_is_immutable_and_reused_while_it_is_the_same() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    let first = put(&house, Phase::Pre, vec![hook("a", "A"), hook("b", "B"), hook("c", "A")]).await;
    assert_eq!(first.iter().map(|h| (h.position, h.name.as_str())).collect::<Vec<_>>(), [(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(codes(&house).await, 2);
    let planned = hooks::enabled_hooks_for_plan(house.deployer.db.pool(), "prod").await.unwrap();
    assert_eq!(planned[0].code_ref, planned[2].code_ref);

    // Another order, other code for b: the same hooks, one new code, and the old one still there for runs that refer to it.
    let second = put(&house, Phase::Pre, vec![hook("b", "B2"), hook("a", "A")]).await;
    assert_eq!((&second[0].id, &second[1].id), (&first[1].id, &first[0].id));
    assert_eq!(codes(&house).await, 3);
    let code = async |reference: &str| hooks::code(&house.deployer.db, reference).await.unwrap();
    assert_eq!(code(&planned[1].code_ref).await.as_deref(), Some("B"));
    let now = hooks::enabled_hooks_for_plan(house.deployer.db.pool(), "prod").await.unwrap();
    assert_eq!(code(&now[0].code_ref).await.as_deref(), Some("B2"));
    assert_eq!(code("none").await, None);
}

#[tokio::test]
async fn whose_name_was_lent_to_hooks_runs_no_others() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    let deployer = &house.deployer;
    let ops = house.user("ops", &["ops"]).await;
    let version = async || infrastructures::get(deployer, &house.admin, "prod").await.unwrap().unwrap().version;
    let lend = async |viewer: &Viewer, to: Option<&str>| {
        let settings = SettingsPatch { hooks_user: Some(to.map(str::to_owned)), ..SettingsPatch::default() };
        let patch = InfrastructurePatch { settings, ..InfrastructurePatch::default() };
        infrastructures::update(deployer, viewer, "prod", version().await, patch).await.unwrap();
    };
    let put = async |viewer: &Viewer, code: &str| {
        hooks::set_hooks(deployer, viewer, "prod", Phase::Pre, vec![hook("a", code)], version().await).await
    };
    put(&ops, "A").await.unwrap();
    lend(&house.admin, Some("admin")).await;
    let all = refusals(put(&ops, "evil").await);
    assert_eq!((all[0].code, all[0].field.as_deref()), ("FORBIDDEN", Some("hooksUser")));
    assert_eq!(hooks::by_infrastructures(deployer, &ops, &["prod".to_owned()]).await.unwrap()["prod"][0].code, "A");
    put(&house.admin, "B").await.unwrap();
    // In their own name, and in nobody's.
    lend(&ops, Some("ops")).await;
    put(&ops, "C").await.unwrap();
    lend(&ops, None).await;
    put(&ops, "D").await.unwrap();
}

#[tokio::test]
async fn phases_defaults_and_counts() {
    let house = house().await;
    house.infrastructure("prod", Level::View).await;
    let post =
        put(&house, Phase::Post, vec![hook("tell", "T"), HookInput { enabled: Some(false), ..hook("off", "T") }]).await;
    let pre =
        put(&house, Phase::Pre, vec![HookInput { on_interrupt: Some(OnInterrupt::Fail), ..hook("ask", "A") }]).await;
    assert_eq!((post[0].on_interrupt, pre[0].on_interrupt), (OnInterrupt::Fail, OnInterrupt::Fail));
    assert_eq!(put(&house, Phase::Pre, vec![hook("ask", "A")]).await[0].on_interrupt, OnInterrupt::Rerun);
    assert_eq!(post[0].deadline_ms, hooks::DEFAULT_DEADLINE_MS);

    let planned = hooks::enabled_hooks_for_plan(house.deployer.db.pool(), "prod").await.unwrap();
    assert_eq!(
        planned.iter().map(|h| (h.phase, h.name.as_str())).collect::<Vec<_>>(),
        [(Phase::Pre, "ask"), (Phase::Post, "tell")]
    );
    let dev = viewer("bob", &["dev"]);
    let ids = ["prod".to_owned()];
    let counts = hooks::counts(&house.deployer, &dev, &ids).await.unwrap();
    assert_eq!(counts["prod"], HookCounts { pre: 1, post: 1 });
    assert!(hooks::by_infrastructures(&house.deployer, &dev, &ids).await.unwrap().is_empty());
    let ops = viewer("ann", &["ops"]);
    assert_eq!(hooks::by_infrastructures(&house.deployer, &ops, &ids).await.unwrap()["prod"].len(), 3);
    assert!(put(&house, Phase::Post, Vec::new()).await.is_empty());
}

#[tokio::test]
async fn administrators_alone_with_the_version_that_they_saw() {
    let house = house().await;
    house.infrastructure("prod", Level::Deploy).await;
    let (dev, ops, eve) = (viewer("bob", &["dev"]), viewer("ann", &["ops"]), viewer("eve", &["other"]));
    let set = async |viewer, id: &str, version| {
        hooks::set_hooks(&house.deployer, viewer, id, Phase::Pre, vec![hook("a", "A")], version).await
    };
    assert_eq!(refused(set(&dev, "prod", 1).await), "FORBIDDEN");
    let hidden = set(&eve, "prod", 1).await;
    let absent = set(&eve, "none", 1).await;
    assert_eq!(format!("{hidden:?}"), format!("{absent:?}"));
    assert_eq!(refused(hidden), "NOT_FOUND");
    assert_eq!(refused(set(&ops, "prod", 2).await), "VERSION_CONFLICT");
    set(&ops, "prod", 1).await.unwrap();
    assert_eq!(refused(set(&ops, "prod", 1).await), "VERSION_CONFLICT");
}

#[tokio::test]
async fn code_envs_and_os_users_are_names_that_a_worker_published() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    let set = async |version| {
        let hook =
            HookInput { code_env: Some("py311".to_owned()), os_user: Some("hooks".to_owned()), ..hook("a", "A") };
        hooks::set_hooks(&house.deployer, &house.admin, "prod", Phase::Pre, vec![hook], version).await
    };
    let all = crate::identity::support::refusals(set(1).await);
    assert_eq!(all.iter().map(|refusal| refusal.code).collect::<Vec<_>>(), ["CODE_ENV_UNKNOWN", "OS_USER_UNKNOWN"]);
    let facts = serde_json::json!({"codeEnvs": ["py311"], "osUsers": ["hooks"], "planVersions": [1]});
    let lease = Lease::register(&house.deployer.db, None, "worker", &facts, &LeaseSettings::default()).await.unwrap();
    // Ended workers count, too: a run waits for one that comes back.
    house.sql(&format!("UPDATE worker SET ended_at = 1 WHERE id = {}", lease.worker)).await;
    set(1).await.unwrap();
}

#[tokio::test]
async fn a_worker_whose_facts_are_broken_keeps_nobody_from_setting_hooks() {
    let house = house().await;
    house.infrastructure("prod", Level::None).await;
    house
        .sql("INSERT INTO worker (id, name, started_at, lease_until, facts) VALUES (1, 'w', 1, 1, '{\"codeEnvs\":')")
        .await;
    hooks::set_hooks(&house.deployer, &house.admin, "prod", Phase::Pre, Vec::new(), 1).await.unwrap();
}
