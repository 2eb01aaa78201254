//! The set-ups that docs/RIGHTS.md shows.

use deployer::{
    accounts::{
        groups,
        users::{self, AccountKind},
    },
    deployments::{self, Change, NewDeployment},
    hooks::{self, Phase},
    infrastructures::{self, InfrastructurePatch, NewInfrastructure, Permission, SettingsPatch},
    policy::{self, Asked},
    projects,
    rights::Level,
    updates::{self, UpdateType},
    viewer::Viewer,
};
use engine::{runs, secrets::Secret};

use crate::deployments::support::{World, code, viewer, world};

/// `DEV` and `PROD` with these levels, and the project's Deploy for these groups.
async fn set_up(dev: &[(&str, Level)], prod: &[(&str, Level)], deployers: &[&str]) -> World {
    let world = world().await;
    for group in ["everybody", "release", "platform", "orchestrator"] {
        groups::create(&world.deployer, &world.root, group, "").await.unwrap();
    }
    for (id, stage, levels) in [("DEVELOPMENT", "Development", dev), ("PRODUCTION", "Production", prod)] {
        let permissions =
            levels.iter().map(|(group, level)| Permission { group: (*group).to_owned(), level: *level }).collect();
        let new = NewInfrastructure {
            id: id.to_owned(),
            stage: stage.to_owned(),
            settings: SettingsPatch { node_url: Some("http://127.0.0.1:1".to_owned()), ..Default::default() },
            admin_key: Some(Secret::from("node-key".to_owned())),
            permissions,
            ..Default::default()
        };
        infrastructures::create(&world.deployer, &world.root, new).await.unwrap();
    }
    let permission = |group: &&str| projects::Permission {
        group: (*group).to_owned(),
        read: true,
        write: false,
        deploy: true,
        admin: false,
    };
    world.set_permissions("CHURN", deployers.iter().map(permission).collect()).await;
    world
}

async fn account(world: &World, login: &str, groups: &[&str], kind: AccountKind) -> Viewer {
    let who = viewer(login, groups);
    let new = users::NewUser { login: login.to_owned(), groups: who.groups.clone(), kind, ..Default::default() };
    users::create(&world.deployer, &world.root, new).await.unwrap();
    who
}

fn to(infrastructure: &str) -> NewDeployment {
    NewDeployment {
        id: format!("churn-{infrastructure}"),
        project_key: "CHURN".to_owned(),
        infrastructure_id: infrastructure.to_owned(),
        bundle_id: "v1".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn everybody_deploys_to_development_and_few_to_production() {
    let dev = [("everybody", Level::Deploy), ("platform", Level::Admin)];
    let prod = [("everybody", Level::View), ("release", Level::Deploy), ("platform", Level::Admin)];
    let world = set_up(&dev, &prod, &["everybody", "release"]).await;
    let deployer = &world.deployer;
    let ann = account(&world, "ann", &["everybody"], AccountKind::Personal).await;
    let rita = account(&world, "rita", &["everybody", "release"], AccountKind::Personal).await;
    let pat = account(&world, "pat", &["platform"], AccountKind::Personal).await;
    deployments::create(deployer, &ann, to("DEVELOPMENT")).await.unwrap();
    updates::start(deployer, &ann, "churn-DEVELOPMENT", None).await.unwrap();
    assert_eq!(code(&deployments::create(deployer, &ann, to("PRODUCTION")).await), "FORBIDDEN");
    deployments::create(deployer, &rita, to("PRODUCTION")).await.unwrap();
    let seen = deployments::get(deployer, &ann, "churn-PRODUCTION").await.unwrap();
    assert!(seen.is_some(), "everybody sees what is live");
    assert_eq!(code(&updates::start(deployer, &ann, "churn-PRODUCTION", None).await), "FORBIDDEN");
    let change = Change { expected_version: 1, ..Default::default() };
    assert_eq!(code(&deployments::update_settings(deployer, &ann, "churn-PRODUCTION", change).await), "FORBIDDEN");
    assert_eq!(code(&deployments::delete(deployer, &ann, "churn-PRODUCTION").await), "FORBIDDEN");
    updates::start(deployer, &rita, "churn-PRODUCTION", None).await.unwrap();
    // Settings, rights and hooks are the administrators' alone, and no infrastructure is made by them.
    for other in [&ann, &rita] {
        let patch = InfrastructurePatch::default();
        assert_eq!(code(&infrastructures::update(deployer, other, "PRODUCTION", 1, patch).await), "FORBIDDEN");
        assert_eq!(code(&infrastructures::set_permissions(deployer, other, "PRODUCTION", 1, &[]).await), "FORBIDDEN");
        let set = hooks::set_hooks(deployer, other, "PRODUCTION", Phase::Pre, Vec::new(), 1).await;
        assert_eq!(code(&set), "FORBIDDEN");
        assert_eq!(code(&infrastructures::delete(deployer, other, "PRODUCTION").await), "FORBIDDEN");
        let seen = infrastructures::get(deployer, other, "PRODUCTION").await.unwrap().unwrap();
        assert!(seen.settings.is_none(), "{seen:?}");
        let hooks = hooks::by_infrastructures(deployer, other, &["PRODUCTION".to_owned()]).await.unwrap();
        assert!(hooks.is_empty());
    }
    assert!(hooks::set_hooks(deployer, &pat, "PRODUCTION", Phase::Pre, Vec::new(), 1).await.is_ok());
    assert!(deployments::get(deployer, &pat, "churn-PRODUCTION").await.unwrap().is_none(), "not without the project");
    for viewer in [&ann, &rita, &pat] {
        let new = NewInfrastructure { id: "MINE".to_owned(), ..Default::default() };
        assert_eq!(code(&infrastructures::create(deployer, viewer, new).await), "FORBIDDEN");
    }
}

#[tokio::test]
async fn production_by_the_ci_system_alone() {
    let dev = [("everybody", Level::Deploy)];
    let prod = [("everybody", Level::View), ("orchestrator", Level::Deploy)];
    let world = set_up(&dev, &prod, &["everybody", "orchestrator"]).await;
    let deployer = &world.deployer;
    let ann = account(&world, "ann", &["everybody"], AccountKind::Personal).await;
    let ci = account(&world, "ci", &["orchestrator"], AccountKind::Technical).await;
    deployments::create(deployer, &ci, to("PRODUCTION")).await.unwrap();
    let run = updates::start(deployer, &ci, "churn-PRODUCTION", None).await.unwrap().update.id;
    let seen = updates::get(deployer, &ann, run).await.unwrap().unwrap();
    assert_eq!(seen.requester, "ci", "people see who did it");
    assert_eq!(code(&updates::cancel(deployer, &ann, run).await), "FORBIDDEN");
    assert_eq!(code(&updates::retry(deployer, &ann, run, None).await), "FORBIDDEN");
    assert_eq!(code(&updates::start(deployer, &ann, "churn-PRODUCTION", None).await), "FORBIDDEN");
    deployments::create(deployer, &ann, to("DEVELOPMENT")).await.unwrap();
    assert!(deployments::get(deployer, &ci, "churn-DEVELOPMENT").await.unwrap().is_none(), "CI sees production alone");
    // The right goes while the update is in line: it does not begin.
    let spec = runs::load(deployer.db.pool(), run).await.unwrap().unwrap().state.spec.body.clone();
    let spec = serde_json::from_value(spec).unwrap();
    let asked = Asked { requester: "ci", at: i64::MAX };
    assert!(policy::check(deployer, asked, &spec, UpdateType::Update, false).await.is_ok());
    let without = users::UserPatch { groups: Some(viewer("", &["everybody"]).groups), ..Default::default() };
    users::update(deployer, &world.root, "ci", without).await.unwrap();
    let lost = format!("{:?}", policy::check(deployer, asked, &spec, UpdateType::Update, false).await);
    assert!(lost.contains("POLICY_RIGHT_LOST"), "{lost}");
}
