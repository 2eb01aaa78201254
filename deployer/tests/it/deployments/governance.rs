//! What the policies make of a governance source's answers, and of the project standards report in a bundle.

use deployer::{
    deployments::{self, Change, NewDeployment},
    error::Result,
    governance, infrastructures,
    policy::{self, Asked},
    updates::{self, UpdateType},
    viewer::Viewer,
};
use engine::{failure::StepError, ids::RunId, runs, secrets::Secret};
use sandbox::Governance;
use serde_json::{Value, json};
use targets::{
    governance::Severity,
    spec::{DeploySpec, GovernCheckPolicy, ProjectStandardsPolicy},
};

use crate::deployments::support::{World, code, new_deployment, problems, zip_of};

/// Somebody with Deploy on both sides.
const REQUESTER: &str = "deploy-deploy";
const ASKED: Asked<'static> = Asked { requester: REQUESTER, at: i64::MAX };

/// A world in which the requester has an account.
async fn world() -> World {
    let world = crate::deployments::support::world().await;
    world.somebody("deploy", "deploy").await;
    world
}

async fn set(world: &World, patch: infrastructures::SettingsPatch) {
    let version = infrastructures::get(&world.deployer, &world.root, "PROD").await.unwrap().unwrap().version;
    let governance_key = patch.governance_url.as_ref().map(|_| Some(Secret::from("govern-key".to_owned())));
    let patch = infrastructures::InfrastructurePatch { settings: patch, governance_key, ..Default::default() };
    infrastructures::update(&world.deployer, &world.root, "PROD", version, patch).await.unwrap();
}

async fn govern(world: &World, policy: GovernCheckPolicy, url: &str) {
    let patch = infrastructures::SettingsPatch {
        govern_check_policy: Some(policy),
        governance_url: Some(Some(url.to_owned())),
        ..Default::default()
    };
    set(world, patch).await;
}

fn ignoring(new: NewDeployment) -> NewDeployment {
    NewDeployment { ignore_warnings: true, ..new }
}

async fn spec_of(world: &World, run: RunId) -> DeploySpec {
    let loaded = runs::load(world.deployer.db.pool(), run).await.unwrap().unwrap();
    serde_json::from_value(loaded.state.spec.body.clone()).unwrap()
}

/// What step `check_policy` comes to: warnings, or a code and whether it is tried again.
async fn check(world: &World, spec: &DeploySpec, last: bool) -> std::result::Result<Vec<String>, (String, bool)> {
    match policy::check(&world.deployer, ASKED, spec, UpdateType::Update, last).await {
        Ok(warnings) => Ok(warnings),
        Err(StepError::Permanent(failure)) => Err((failure.code.to_string(), false)),
        Err(StepError::Retryable { failure, .. }) => Err((failure.code.to_string(), true)),
        Err(other) => panic!("{other:?}"),
    }
}

/// A bundle with this report.
async fn upload(world: &World, id: &str, report: Value) {
    let manifest = json!({"bundleId": id, "projectKey": "CHURN", "projectStandardsReport": report});
    let archive = zip_of(&[("bundle-manifest.json", manifest.to_string().as_bytes())]);
    world.upload(&world.root, Some("CHURN"), &archive).await.unwrap();
}

fn report(severity: u64) -> Value {
    let result = json!({"status": "RUN_SUCCESS", "severity": severity, "message": "A key stands in recipe r1"});
    json!({"bundleChecksRunInfo": {"c1": {"check": {"name": "No hard-coded keys"}, "result": result}}})
}

#[tokio::test]
async fn without_a_check_nobody_is_asked() {
    let world = world().await;
    let source = Governance::open().await.unwrap();
    source.say("v1", "ERROR", "Nobody signed.");
    govern(&world, GovernCheckPolicy::NoCheck, &source.url()).await;
    world.deployment("d", "CHURN").await;
    let run = updates::start(&world.deployer, &world.root, "d", None).await.unwrap().update.id;
    assert_eq!(check(&world, &spec_of(&world, run).await, false).await, Ok(Vec::new()));
    assert!(source.take().is_empty());
    // Who asks for it is answered.
    let told = governance::status(&world.deployer, &world.root, "d", None).await.unwrap();
    assert_eq!((told.asked, told.messages.len()), (true, 1));
}

#[tokio::test]
async fn a_warning_is_refused_unless_it_is_ignored_and_updates_go_on() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    let source = Governance::open().await.unwrap();
    govern(&world, GovernCheckPolicy::Warn, &source.url()).await;
    world.deployment("fine", "FINE").await;
    let asked = source.take();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer govern-key"));
    assert_eq!(asked[0].body["deploymentId"], "fine");
    assert_eq!((&asked[0].body["deployedProjectKey"], &asked[0].body["requester"]), (&json!("FINE"), &json!("root")));
    assert_eq!(asked[0].body["sha256"].as_str().unwrap().len(), 64);

    for status in ["WARNING", "ERROR"] {
        source.say("v1", status, "Nobody signed.");
        let refused = deployments::create(deployer, root, new_deployment("d", "D")).await;
        assert!(format!("{refused:?}").contains("Nobody signed."), "{refused:?}");
        assert_eq!(problems(refused), [("GOVERNANCE_WARNING", "bundleId".to_owned())]);
    }
    assert!(deployments::get(deployer, root, "d").await.unwrap().is_none());
    source.take();
    deployments::create(deployer, root, ignoring(new_deployment("d", "D"))).await.unwrap();
    assert!(source.take().is_empty());
    let change = |version, ignore_warnings| Change { expected_version: version, ignore_warnings, ..Change::default() };
    let save = async |version, ignore| deployments::update_settings(deployer, root, "d", change(version, ignore)).await;
    assert_eq!(code(&save(1, false).await), "GOVERNANCE_WARNING");
    // What is wrong with the request itself comes first.
    source.take();
    assert_eq!(code(&save(7, false).await), "VERSION_CONFLICT");
    assert!(source.take().is_empty());
    save(1, true).await.unwrap();

    let run = updates::start(deployer, root, "d", None).await.unwrap().update.id;
    let spec = spec_of(&world, run).await;
    assert_eq!(check(&world, &spec, false).await, Ok(vec!["Nobody signed.".to_owned()]));
    // One that can't be asked is asked again, and then warns.
    source.answer("v1", 503, "");
    assert_eq!(check(&world, &spec, false).await, Err(("GOVERNANCE_UNAVAILABLE".to_owned(), true)));
    assert_eq!(check(&world, &spec, true).await.unwrap().len(), 1);
    assert_eq!(code(&save(2, false).await), "GOVERNANCE_WARNING");
    source.answer("v1", 401, "");
    assert_eq!(check(&world, &spec, false).await.unwrap().len(), 1);
}

#[tokio::test]
async fn prevented_is_an_update_and_not_the_intention() {
    let world = world().await;
    let source = Governance::open().await.unwrap();
    govern(&world, GovernCheckPolicy::Prevent, &source.url()).await;
    source.say("v1", "ERROR", "Nobody signed.");
    world.deployment("d", "CHURN").await;
    let run = updates::start(&world.deployer, &world.root, "d", None).await.unwrap().update.id;
    let spec = spec_of(&world, run).await;
    let prevented = policy::check(&world.deployer, ASKED, &spec, UpdateType::Update, false).await;
    let Err(StepError::Permanent(failure)) = prevented else { panic!("{prevented:?}") };
    assert_eq!(failure.code.as_str(), "GOVERNANCE_PREVENTED");
    assert!(failure.message.starts_with("Nobody signed. "), "{}", failure.message);
    source.say("v1", "WARNING", "Soon to be retired");
    assert_eq!(check(&world, &spec, false).await, Ok(vec!["Soon to be retired.".to_owned()]));
    source.answer("v1", 503, "");
    for last in [false, true] {
        assert_eq!(check(&world, &spec, last).await, Err(("GOVERNANCE_UNAVAILABLE".to_owned(), true)));
    }
    source.answer("v1", 200, "no JSON");
    assert_eq!(check(&world, &spec, false).await, Err(("GOVERNANCE_SOURCE_INVALID".to_owned(), false)));
    // A key that goes meanwhile stays for the updates that work with it.
    let patch = infrastructures::SettingsPatch { governance_url: Some(None), ..Default::default() };
    let version = infrastructures::get(&world.deployer, &world.root, "PROD").await.unwrap().unwrap().version;
    let patch = infrastructures::InfrastructurePatch { settings: patch, ..Default::default() };
    infrastructures::update(&world.deployer, &world.root, "PROD", version, patch).await.unwrap();
    source.answer("v1", 200, r#"{"status": "OK"}"#);
    assert_eq!(check(&world, &spec, false).await, Ok(Vec::new()));

    // A retry works with what is set by then.
    updates::cancel(&world.deployer, &world.root, run).await.unwrap();
    let again = updates::retry(&world.deployer, &world.root, run, None).await.unwrap().update.id;
    assert_eq!(spec_of(&world, again).await.infrastructure.governance, None);
}

#[tokio::test]
async fn the_report_in_the_bundle_has_the_same_force() {
    let world = world().await;
    let (deployer, root) = (&world.deployer, &world.root);
    upload(&world, "good", report(0)).await;
    upload(&world, "bad", report(3)).await;
    let of = |bundle: &str| NewDeployment { bundle_id: bundle.to_owned(), ..new_deployment(bundle, bundle) };
    let policy = async |policy| {
        let patch = infrastructures::SettingsPatch { project_standards_policy: Some(policy), ..Default::default() };
        set(&world, patch).await;
    };
    policy(ProjectStandardsPolicy::Warn).await;
    deployments::create(deployer, root, of("good")).await.unwrap();
    let refused = deployments::create(deployer, root, of("bad")).await;
    assert!(format!("{refused:?}").contains("No hard-coded keys"), "{refused:?}");
    assert_eq!(problems(refused), [("PROJECT_STANDARDS_WARNING", "bundleId".to_owned())]);
    // v1 has no report.
    assert_eq!(
        code(&deployments::create(deployer, root, new_deployment("v1", "V1")).await),
        "PROJECT_STANDARDS_WARNING"
    );
    deployments::create(deployer, root, ignoring(of("bad"))).await.unwrap();
    let other = Change { expected_version: 1, bundle_id: Some("bad".to_owned()), ..Change::default() };
    assert_eq!(code(&deployments::update_settings(deployer, root, "good", other).await), "PROJECT_STANDARDS_WARNING");

    let run = updates::start(deployer, root, "bad", None).await.unwrap().update.id;
    let warned = check(&world, &spec_of(&world, run).await, false).await.unwrap();
    assert_eq!(
        warned,
        [
            "The project standards check \"No hard-coded keys\" found something of severity MEDIUM: A key stands in recipe r1"
        ]
    );
    updates::cancel(deployer, root, run).await.unwrap();
    policy(ProjectStandardsPolicy::Prevent).await;
    let run = updates::start(deployer, root, "bad", None).await.unwrap().update.id;
    let prevented = check(&world, &spec_of(&world, run).await, false).await;
    assert_eq!(prevented, Err(("PROJECT_STANDARDS_PREVENTED".to_owned(), false)));
    let run = updates::start(deployer, root, "good", None).await.unwrap().update.id;
    assert_eq!(check(&world, &spec_of(&world, run).await, false).await, Ok(Vec::new()));
}

#[tokio::test]
async fn the_status_is_for_those_who_see_the_deployment() {
    let world = world().await;
    world.deployment("d", "CHURN").await;
    let status = async |viewer: &Viewer, id: &str, bundle: Option<&str>| -> Result<governance::Governance> {
        governance::status(&world.deployer, viewer, id, bundle).await
    };
    assert_eq!(status(&world.root, "d", None).await.unwrap(), governance::Governance::default());
    let source = Governance::open().await.unwrap();
    govern(&world, GovernCheckPolicy::Warn, &source.url()).await;
    let (sees, hidden) = (world.somebody("view", "read").await, world.somebody("none", "read").await);
    assert!(status(&sees, "d", Some("v1")).await.unwrap().asked);
    source.take();
    let (there, absent) = (status(&hidden, "d", None).await, status(&hidden, "e", None).await);
    assert_eq!(format!("{there:?}"), format!("{absent:?}"));
    assert_eq!(problems(there), [("NOT_FOUND", "deploymentId".to_owned())]);
    for unknown in ["v9", "\0"] {
        assert_eq!(problems(status(&sees, "d", Some(unknown)).await), [("BUNDLE_UNKNOWN", "bundleId".to_owned())]);
    }
    assert!(source.take().is_empty());
    source.answer("v1", 200, r#"{"status": "WARNING"}"#);
    let told = status(&sees, "d", None).await.unwrap();
    assert_eq!((told.messages.len(), told.messages[0].severity), (1, Severity::Warning));
    source.answer("v1", 302, "");
    let told = status(&sees, "d", None).await.unwrap();
    assert_eq!(told.messages[0].code, "GOVERNANCE_SOURCE_INVALID");
}
