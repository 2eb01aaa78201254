//! Step `push_bundle`: whose bundle it is, whose project, and whose rights.

use engine::step::StepContext as _;
use sandbox::{BundleSpec, Fault, FaultKind, write_big_bundle};
use serde_json::json;
use targets::{automation::notes, spec::PermissionsPropagation};

use crate::support::{Step, World, node, world};

#[tokio::test]
async fn a_foreign_bundle_is_refused_or_trusted() {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    world.ledger.0.lock().unwrap().clear();
    let failure = world.failure(Step::Push).await;
    assert_eq!(failure.code.as_str(), "BUNDLE_ID_FOREIGN");
    world.spec.infrastructure.trust_foreign_bundles = true;
    let (_, warnings) = world.step(Step::Push).await.unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(world.ledger.0.lock().unwrap().values().all(|import| import.confirmed));
}

#[tokio::test]
async fn an_id_means_one_content() {
    let mut world = world().await;
    world.update().await;
    world.new_run();
    let mut other = BundleSpec::new("CHURN", "v1");
    other.release_notes = "something else".into();
    world.take(&other).await;
    assert_eq!(world.failure(Step::Push).await.code.as_str(), "BUNDLE_CONTENT_DIFFERS");
}

#[tokio::test]
async fn a_project_deleted_on_the_node_is_made_again() {
    let mut world = world().await;
    world.update().await;
    world.by_hand("DELETE", "/projects/CHURN", json!(null)).await;
    world.new_run();
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.effects("POST", "/projectsFromBundle").len(), 2);
    assert_eq!(world.project()["activeBundle"], "v1");
}

#[tokio::test]
async fn a_project_that_was_there_keeps_its_rights() {
    let mut world = world().await;
    world.by_hand("POST", "/projects/", json!({"projectKey": "CHURN", "name": "Mine", "owner": "deployer", "permissions": [{"user": "analyst", "admin": true}]})).await;
    world.spec.infrastructure.permissions_propagation = PermissionsPropagation::Full;
    assert_eq!(world.update().await.differences, []);
    assert_eq!(world.project()["name"], "Mine");
    let permissions = world.project()["permissions"].clone();
    assert_eq!((permissions.as_array().unwrap().len(), &permissions[0]["user"]), (1, &json!("analyst")));
    assert_eq!(world.effects("POST", "/importFromStream").len(), 1);
}

#[tokio::test]
async fn later_updates_leave_owner_and_rights_alone() {
    for key in ["CHURN", "CHURN_PROD"] {
        let mut world = world().await;
        world.node.set_user("other-deployer", &[], true);
        world.spec.deployed_project_key = key.into();
        world.update().await;
        let path = format!("/projects/{key}/permissions");
        let mut permissions = world.by_hand("GET", &path, json!(null)).await;
        assert_eq!((&permissions["owner"], &permissions["permissions"]), (&json!("deployer"), &json!([])));
        permissions["owner"] = json!("analyst");
        permissions["permissions"] = json!([{"user": "analyst", "admin": true}]);
        world.by_hand("PUT", &path, permissions.clone()).await;
        // Another policy and another deploy-as user: for projects that are made from now on.
        world.new_run();
        world.take(&BundleSpec::new("CHURN", "v2")).await;
        world.spec.infrastructure.permissions_propagation = PermissionsPropagation::Full;
        world.spec.acting_user = "other-deployer".into();
        assert_eq!(world.update().await.differences, []);
        assert_eq!(world.project()["activatedBy"], "other-deployer");
        assert_eq!(world.by_hand("GET", &path, json!(null)).await, permissions, "{key}");
    }
}

/// The rights of a new project, under its own key (the node propagates) or another (we do).
async fn permissions(policy: PermissionsPropagation, key: &str) -> (serde_json::Value, Vec<String>) {
    // The group data-team is there, the user analyst is not.
    let mut world = World::on(node()).await;
    world.node.remove_user("analyst");
    world.spec.infrastructure.permissions_propagation = policy;
    world.spec.deployed_project_key = key.into();
    let (_, warnings) = world.step(Step::Push).await.unwrap();
    assert_eq!(world.project()["owner"], "deployer");
    (world.project()["permissions"].clone(), warnings)
}

#[tokio::test]
async fn permissions_of_a_new_project() {
    for key in ["CHURN", "CHURN_PROD"] {
        let (none, warnings) = permissions(PermissionsPropagation::None, key).await;
        assert_eq!((none, warnings.len()), (json!([]), 0));
        let (limited, warnings) = permissions(PermissionsPropagation::Limited, key).await;
        assert!(warnings[0].contains("user analyst"), "{warnings:?}");
        assert_eq!(
            (limited.as_array().unwrap().len(), &limited[0]["group"], &limited[0]["readProjectContent"]),
            (1, &json!("data-team"), &json!(true))
        );
        assert_ne!(limited[0]["writeProjectContent"], true, "{limited}");
        let (full, warnings) = permissions(PermissionsPropagation::Full, key).await;
        assert_eq!(
            (full.as_array().unwrap().len(), &full[0]["writeProjectContent"], warnings.len()),
            (1, &json!(true), 1)
        );
    }
}

#[tokio::test]
async fn a_new_run_gives_the_permissions_that_the_creating_one_could_not() {
    let status = || FaultKind::Status { status: 400, error_type: None, message: None, retry_after: None };
    for (key, method, path) in [
        ("CHURN_PROD", "PUT", "/projects/CHURN_PROD/permissions"),
        ("CHURN_PROD", "POST", "/projects/*/bundles/imported/actions/importFromStream"),
    ] {
        let mut world = world().await;
        world.spec.deployed_project_key = key.into();
        world.spec.infrastructure.permissions_propagation = PermissionsPropagation::Full;
        world.node.arm(Fault::on(method, path, status())).unwrap();
        assert!(world.attempt(Step::Push).await.is_err());
        assert_eq!(world.project()["permissions"], json!([]));
        let created = notes::unfinished_creation(|note| world.run.note(note)).unwrap();
        world.new_run();
        world.run.put_note(notes::CREATED, created).await.unwrap();
        world.update().await;
        assert_ne!(world.project()["permissions"], json!([]), "{path}");
        assert_eq!(notes::unfinished_creation(|note| world.run.note(note)), None);
    }
    // Where the node did it, nothing is left to do, whatever fails afterwards.
    let mut world = world().await;
    world.spec.infrastructure.permissions_propagation = PermissionsPropagation::Full;
    world.node.arm(Fault::on("PUT", "/projects/*/settings", status())).unwrap();
    assert!(world.attempt(Step::Push).await.is_err());
    assert_eq!(notes::unfinished_creation(|note| world.run.note(note)), None);
}

#[tokio::test]
async fn under_another_key() {
    let mut world = world().await;
    world.spec.deployed_project_key = "CHURN_PROD".into();
    assert_eq!(world.update().await.differences, []);
    assert_eq!((world.effects("POST", "/projects").len(), world.effects("POST", "/importFromStream").len()), (1, 1));
    assert_eq!(world.project()["owner"], "deployer");
    assert!(world.node.snapshot()["projects"]["CHURN"].is_null());
}

#[tokio::test]
async fn under_another_key_with_answers_lost() {
    let mut wanted = world().await;
    wanted.spec.deployed_project_key = "CHURN_PROD".into();
    wanted.spec.infrastructure.permissions_propagation = PermissionsPropagation::Full;
    wanted.update().await;
    for nth in 1..=wanted.node.calls().len() as u32 {
        let mut world = world().await;
        world.spec = targets::spec::DeploySpec {
            infrastructure: targets::spec::InfrastructureSpec {
                node: world.spec.infrastructure.node.clone(),
                ..wanted.spec.infrastructure.clone()
            },
            ..wanted.spec.clone()
        };
        world
            .node
            .arm(Fault { method: None, path: "**".into(), nth, count: Some(1), kind: FaultKind::LostAnswer })
            .unwrap();
        assert_eq!(world.update().await.differences, [], "{nth}");
        assert_eq!(world.node.snapshot(), wanted.node.snapshot(), "{nth}");
        assert_eq!(
            (world.effects("POST", "/projects").len(), world.effects("POST", "/importFromStream").len()),
            (1, 1),
            "{nth}"
        );
    }
}

#[tokio::test]
async fn a_report_stops_the_step() {
    let world = world().await;
    let kind = FaultKind::ReportError { code: "ERR_CODEENV_MISSING_ENV".into(), message: "the env is missing".into() };
    world.node.arm(Fault::on("POST", "/projects/*/bundles/imported/*/actions/preload", kind.clone())).unwrap();
    let failure = world.failure(Step::Push).await;
    assert_eq!(failure.code.as_str(), "NODE_REPORT_ERROR");
    assert!(
        failure.message.contains("ERR_CODEENV_MISSING_ENV") && !failure.message.contains("the env is missing"),
        "{failure:?}"
    );
    assert!(failure.detail.unwrap().contains("the env is missing"));
    // A new attempt preloads again, and imports nothing.
    world.step(Step::Push).await.unwrap();
    assert_eq!(world.effects("POST", "/projectsFromBundle").len(), 1);

    let world = self::world().await;
    world.node.arm(Fault::on("POST", "/projectsFromBundle", kind)).unwrap();
    assert_eq!(world.failure(Step::Push).await.code.as_str(), "NODE_REPORT_ERROR");
    assert!(world.project().is_null());
}

#[tokio::test]
async fn a_large_bundle_is_streamed() {
    let mut world = world().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, bundle) = (folder.path().join("big.zip"), BundleSpec::new("CHURN", "big"));
    let written = tokio::task::spawn_blocking({
        let (path, bundle) = (path.clone(), bundle.clone());
        move || write_big_bundle(&bundle, &path, 30 * 1024 * 1024).unwrap()
    })
    .await
    .unwrap();
    world.store(&bundle, tokio::fs::read(&path).await.unwrap().into()).await;
    world.step(Step::Push).await.unwrap();
    let call = &world.effects("POST", "/projectsFromBundle")[0];
    let sandbox::CallBody::Upload { file, size, sha256 } = &call.body else { panic!("{call:?}") };
    assert_eq!((file.as_str(), *size, sha256), ("big.zip", written.size, &written.sha256));
}

#[tokio::test]
async fn an_upload_cut_is_sent_again_whole() {
    let world = world().await;
    world.node.arm(Fault::on("POST", "/projectsFromBundle", FaultKind::CutUpload { after_bytes: 100 })).unwrap();
    let (failure, _) = world.retryable(Step::Push).await;
    assert_eq!(failure.code.as_str(), "NODE_ANSWER_CUT");
    world.step(Step::Push).await.unwrap();
    assert_eq!(world.project()["bundles"][0]["sha256"], world.spec.package.sha256);
}

#[tokio::test]
async fn nobody_waits_for_an_import_that_the_node_refused() {
    let status = |status| FaultKind::Status { status, error_type: None, message: None, retry_after: None };
    let report = FaultKind::ReportError { code: "ERR_X".to_owned(), message: "No room.".to_owned() };
    for (path, kind) in [
        ("/projectsFromBundle", status(403)),
        ("/projectsFromBundle", status(400)),
        ("/projects/*/bundles/imported/actions/importFromStream", status(403)),
        ("/projects/*/bundles/imported/actions/importFromStream", report),
    ] {
        let mut world = world().await;
        if path.ends_with("importFromStream") {
            world.by_hand("POST", "/projects/", json!({"projectKey": "CHURN", "name": "C", "owner": "deployer"})).await;
        }
        world.node.arm(Fault::on("POST", path, kind)).unwrap();
        let refused = world.attempt(Step::Push).await;
        assert!(refused.is_err(), "{path} {refused:?}");
        assert!(world.ledger.0.lock().unwrap().is_empty(), "{path}");
        world.new_run();
        let next = world.attempt(Step::Push).await;
        assert!(matches!(next, Ok(engine::failure::StepOutcome::Done { .. })), "{path} {next:?}");
    }
    // One that was not heard of to its end may be going on.
    let world = world().await;
    world.node.arm(Fault::on("POST", "/projectsFromBundle", FaultKind::Reset)).unwrap();
    world.retryable(Step::Push).await;
    assert_eq!(world.ledger.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_import_of_an_earlier_run_is_waited_for() {
    use targets::target::ImportLedger as _;
    let world = world().await;
    let (url, package) = (world.node.url(), world.spec.package.clone());
    world.ledger.intend(&url, "CHURN", "v1", &package.sha256).await.unwrap();
    let now = world.run.now.load(std::sync::atomic::Ordering::SeqCst);
    for import in world.ledger.0.lock().unwrap().values_mut() {
        import.at = now;
    }
    assert!(matches!(world.attempt(Step::Push).await, Ok(engine::failure::StepOutcome::NotYet { .. })));
    world.step(Step::Push).await.unwrap();
    assert!(world.run.now.load(std::sync::atomic::Ordering::SeqCst) - now >= crate::support::SETTLE.as_micros() as i64);
    assert_eq!(world.effects("POST", "/projectsFromBundle").len(), 1);
}
