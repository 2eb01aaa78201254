//! Azure ML, against a stand-in that is as strict as the vendor's model.

use std::collections::BTreeMap;

use sandbox::{
    Fault, FaultKind,
    clouds::{
        Azure, CloudCall, RunningCloud,
        azure::{AzureSettings, ENDPOINT_KEY, PLACE, REGISTRY},
    },
};
use serde_json::{Value, json};
use targets::{TargetType, spec::EndpointSpec, target::ServiceQuery, tools::HostSettings};

use crate::{
    cloud::{CloudWorld, ODD_VERSIONS, Setup, alike, judge},
    support::Step,
};

const ENDPOINT: &str = "onlineEndpoints";

pub(crate) async fn world() -> (RunningCloud<Azure>, CloudWorld) {
    of(AzureSettings { looks: 2, ..AzureSettings::default() }, HostSettings::default()).await
}

async fn of(azure: AzureSettings, host: HostSettings) -> (RunningCloud<Azure>, CloudWorld) {
    let connection = json!({
        "tenantId": azure.tenant, "clientId": azure.client, "clientSecret": {"$secret": "secret-1"},
    });
    let secrets = BTreeMap::from([
        ("secret-1".to_owned(), azure.secret.clone()),
        ("key".to_owned(), ENDPOINT_KEY.to_owned()),
        ("token".to_owned(), "managem3nt-token".to_owned()),
        ("federated".to_owned(), azure.federated.clone()),
    ]);
    let settings = json!({
        "subscriptionId": PLACE[0], "resourceGroup": PLACE[1], "workspace": PLACE[2], "location": azure.location,
        "baseImage": "", "tags": {"team": "scoring"}, "environmentVariables": {"LANG": "C.UTF-8"},
    });
    let cloud = RunningCloud::start(Azure::new(azure)).await.unwrap();
    let (mut connection, mut settings) = (connection, settings);
    let registry = REGISTRY;
    connection["registry"] = json!(registry);
    settings["baseImage"] = json!(format!("{registry}/base/api-node:1"));
    for place in ["registryEndpoint", "authorityEndpoint", "managementEndpoint"] {
        connection[place] = json!(cloud.url());
    }
    let setup = Setup { kind: TargetType::AzureMl, settings, connection: ("AZURE", connection), secrets, host };
    (cloud, CloudWorld::new(setup).await)
}

fn endpoint_name(cloud: &RunningCloud<Azure>) -> String {
    let effects = cloud.effects();
    let all = effects["resources"].as_object().unwrap();
    let path = all.keys().find(|path| path.starts_with(ENDPOINT) && path.matches('/').count() == 1).unwrap();
    path.rsplit('/').next().unwrap().to_owned()
}

fn resources(cloud: &RunningCloud<Azure>, of: &str) -> Vec<String> {
    cloud.effects()["resources"].as_object().unwrap().keys().filter(|path| path.contains(of)).cloned().collect()
}

#[tokio::test]
async fn from_nothing_to_two_versions_and_back_to_nothing() {
    let (cloud, mut world) = world().await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!((preview.changes[0].what.as_str(), preview.changes.len()), ("the endpoint", 2), "{preview:?}");
    let receipt = world.update().await.unwrap();
    assert!(receipt.differences.is_empty(), "{receipt:?}");
    let service = receipt.service.clone().unwrap();
    assert_eq!(service.urls, [format!("{}/{}/score", cloud.url(), endpoint_name(&cloud))]);
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
    assert_eq!(world.target().drift(world.look(), &receipt).await.unwrap(), []);

    world.next_run(&[("v1", 0.125), ("v2", 0.875)]);
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.problems, []);
    assert_eq!(preview.changes.len(), 2, "{preview:?}");
    for (setting, value) in [("instanceType", json!("Standard_F4s_v2")), ("environmentVariables", json!({"LANG": "C"}))]
    {
        let before = world.spec.infrastructure.settings.clone();
        world.set(setting, value);
        let preview = world.target().preview(world.look()).await.unwrap();
        assert_eq!(preview.changes.len(), 3, "{preview:?}");
        world.spec.infrastructure.settings = before;
    }
    let receipt = world.update().await.unwrap();
    let shares: Vec<_> = receipt.service.unwrap().versions.into_iter().map(|one| one.probability).collect();
    assert_eq!(shares, [0.13, 0.87]);
    assert_eq!(world.live().await, [("v2".to_owned(), 87.0), ("v1".to_owned(), 13.0)]);

    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    assert_eq!(world.live().await, [("v2".to_owned(), 100.0)]);
    assert_eq!(resources(&cloud, "/deployments/").len(), 1, "the old one is gone");

    world.next_run(&[("v2", 1.0)]);
    let calls = cloud.calls().len();
    world.update().await.unwrap();
    let changing = |method: &str| method == "PUT" || method == "DELETE";
    assert!(cloud.calls()[calls..].iter().all(|call| !changing(&call.method)), "nothing to do");

    world.step(Step::SwitchOff).await.unwrap();
    assert_eq!(world.live().await, []);
    assert_eq!(resources(&cloud, "/deployments/"), Vec::<String>::new());
    world.step(Step::Remove).await.unwrap();
    assert_eq!(cloud.effects()["resources"], json!({}));
    assert!(!world.target().observe(world.look()).await.unwrap().exists);
}

#[tokio::test]
async fn a_version_that_does_not_start_leaves_what_is_live() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    world.next_run(&[("v2", 1.0)]);
    cloud.fail_next(
        "ResourceNotReady",
        "User container has crashed or terminated.",
        "starting\nno module named churn\n",
    );
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    let failure = world.step(Step::Activate).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "PLATFORM_FAILED");
    for said in ["User container has crashed", "ResourceNotReady", "no module named churn"] {
        assert!(failure.message.contains(said), "{}", failure.message);
    }
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
    let service = world.target().observe(world.look()).await.unwrap().service.unwrap();
    let left = &service.troubles[0];
    assert_eq!((left.is_error, left.code.as_str()), (false, "PLATFORM_LEFT_RUNNING"));
    assert!(left.message.contains("version v2"), "{left:?}");
    // The same run does not try it again; the next one does.
    assert_eq!(world.step(Step::Activate).await.unwrap_err().code.as_str(), "PLATFORM_FAILED");
    let (restored, _) = world.step(Step::Restore).await.unwrap();
    assert_eq!(restored["service"]["versions"][0]["version"], "v1");
    assert_eq!(resources(&cloud, "/deployments/").len(), 1, "what failed goes");
    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    assert_eq!(world.live().await, [("v2".to_owned(), 100.0)]);
    assert_eq!(resources(&cloud, "/deployments/").len(), 1);
}

#[tokio::test]
async fn restore_brings_the_traffic_back() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    world.next_run(&[("v1", 0.5), ("v2", 0.5)]);
    for step in [Step::Push, Step::Activate] {
        world.step(step).await.unwrap();
    }
    world.step(Step::Restore).await.unwrap();
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
    assert_eq!(resources(&cloud, "/deployments/").len(), 1, "what this run deployed serves nothing, and goes");
    // Also where moving it was what failed.
    world.next_run(&[("v2", 1.0)]);
    cloud.fail_next_traffic("InternalServerError", "the traffic could not be moved");
    world.step(Step::Push).await.unwrap();
    let failure = world.step(Step::Activate).await.unwrap_err();
    assert!(failure.message.contains("the traffic could not be moved"), "{failure}");
    assert_eq!(world.live().await, [("v2".to_owned(), 100.0)]);
    world.step(Step::Restore).await.unwrap();
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
    let (_cloud, fresh) = self::world().await;
    assert_eq!(fresh.step(Step::Restore).await.unwrap().0, Value::Null, "nothing was there");
}

/// A fault of the next call of these: its token is refused.
fn refused_once(method: &str, path: &str) -> Fault {
    let kind = FaultKind::Status { status: 401, error_type: None, message: None, retry_after: None };
    Fault::on(method, path, kind)
}

#[tokio::test]
async fn a_token_that_is_refused_is_got_anew_once() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    let signed_in = |cloud: &RunningCloud<Azure>| {
        cloud.calls().iter().filter(|call| call.path.ends_with("/oauth2/v2.0/token")).count()
    };
    for (method, path) in [("GET", "/subscriptions/**"), ("PUT", "/subscriptions/**"), ("POST", "/oauth2/exchange")] {
        world.next_run(&[if world.run.id % 2 == 0 { ("v2", 1.0) } else { ("v1", 1.0) }]);
        let before = signed_in(&cloud);
        cloud.arm(refused_once(method, path)).unwrap();
        world.update().await.unwrap();
        assert_eq!(signed_in(&cloud), before + 1, "{method} {path}");
    }
    cloud.arm(refused_once("GET", "/subscriptions/**").for_ever()).unwrap();
    world.next_run(&[("v1", 1.0)]);
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert!(failure.to_string().contains("NODE_KEY_REJECTED"), "{failure}");
}

#[tokio::test]
async fn a_test_signs_in_afresh() {
    let (cloud, world) = world().await;
    let connection = world.spec.infrastructure.connection.clone().unwrap();
    let checker = world.targets.connection("AZURE").unwrap();
    checker.check(&connection, &world.known).await.unwrap();
    world.target().check(&world.spec.infrastructure, &world.known).await.unwrap();
    cloud.arm(refused_once("POST", "/*/oauth2/v2.0/token").for_ever()).unwrap();
    for code in [
        checker.check(&connection, &world.known).await.unwrap_err().code,
        world.target().check(&world.spec.infrastructure, &world.known).await.unwrap_err().code,
    ] {
        assert_eq!(code.as_str(), "NODE_KEY_REJECTED");
    }
}

#[tokio::test]
async fn a_base_image_that_is_not_there_is_found_before_an_update() {
    let (_cloud, mut world) = world().await;
    world.set("baseImage", json!(format!("{REGISTRY}/base/nothing:1")));
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "IMAGE_BASE_NOT_FOUND");
    let report = world.target().check(&world.spec.infrastructure, &world.known).await.unwrap();
    assert!(report.problems.iter().any(|one| one.contains("base/nothing:1")), "{report:?}");
}

#[tokio::test]
async fn versions_may_have_any_id() {
    let (_cloud, mut world) = world().await;
    for id in ODD_VERSIONS {
        world.next_run(&[(id, 1.0)]);
        world.update().await.unwrap();
        assert_eq!(world.live().await, [((*id).to_owned(), 100.0)]);
    }
    world.next_run(&[(ODD_VERSIONS[0], 0.5), (ODD_VERSIONS[1], 0.5)]);
    world.update().await.unwrap();
}

#[tokio::test]
async fn what_others_made_is_left_alone() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    let name = endpoint_name(&cloud);
    let path = format!("{ENDPOINT}/{name}");
    let theirs = json!({"name": "theirs", "tags": {}, "properties": {"provisioningState": "Succeeded"}});
    cloud.meddle(&format!("{path}/deployments/theirs"), theirs);
    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    assert!(resources(&cloud, "/deployments/theirs").len() == 1, "not ours to delete");
    let failure = world.step(Step::Remove).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "PLATFORM_NAME_TAKEN");
    cloud.meddle(&format!("{path}/deployments/theirs"), Value::Null);

    let mut endpoint = cloud.resource(&path);
    endpoint["tags"] = json!({"slipway-owner": "somebody"});
    cloud.meddle(&path, endpoint);
    world.next_run(&[("v2", 1.0)]);
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "PLATFORM_NAME_TAKEN");
    assert_eq!(world.step(Step::Remove).await.unwrap_err().code.as_str(), "PLATFORM_NAME_TAKEN");
    assert!(cloud.resource(&path).is_object());
}

#[tokio::test]
async fn drift_and_health_are_seen() {
    let (cloud, world) = world().await;
    let receipt = world.update().await.unwrap();
    let path = format!("{ENDPOINT}/{}", endpoint_name(&cloud));
    let deployment = resources(&cloud, "/deployments/").remove(0);
    let mut broken = cloud.resource(&deployment);
    broken["properties"]["provisioningState"] = json!("Failed");
    broken["sku"]["capacity"] = json!(5);
    cloud.meddle(&deployment, broken);
    let found = world.target().drift(world.look(), &receipt).await.unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    // What earlier receipts did not say is no drift.
    let mut earlier = receipt.clone();
    earlier.service.as_mut().unwrap().facts.remove("environments");
    assert_eq!(world.target().drift(world.look(), &earlier).await.unwrap(), found);
    let troubles = world.target().observe(world.look()).await.unwrap().service.unwrap().troubles;
    assert!(troubles[0].is_error && troubles[0].code.as_str() == "PLATFORM_FAILED");
    let mut busy = cloud.resource(&path);
    busy["properties"]["provisioningState"] = json!("Updating");
    cloud.meddle(&path, busy);
    let troubles = world.target().observe(world.look()).await.unwrap().service.unwrap().troubles;
    assert!(!troubles[0].is_error && troubles[0].code.as_str() == "SERVICE_STARTING");
}

#[tokio::test]
async fn what_somebody_changed_is_seen_and_put_right() {
    let (cloud, mut world) = world().await;
    let receipt = world.update().await.unwrap();
    let deployment = resources(&cloud, "/deployments/").remove(0);
    let ours = cloud.resource(&deployment);
    for (pointer, value) in [
        ("/properties/instanceType", json!("Standard_F4s_v2")),
        ("/properties/environmentVariables", json!({"LANG": "C"})),
        ("/properties/environmentId", json!("/subscriptions/x/environments/other/versions/1")),
        ("/sku/capacity", json!(7)),
    ] {
        let mut theirs = ours.clone();
        *theirs.pointer_mut(pointer).unwrap() = value;
        cloud.meddle(&deployment, theirs);
        let found = world.target().drift(world.look(), &receipt).await.unwrap();
        assert_eq!(found.len(), 1, "{pointer}: {found:?}");
        world.next_run(&[("v1", 1.0)]);
        assert_eq!(world.update().await.unwrap().differences, [], "{pointer}");
        assert_eq!(cloud.resource(&deployment).pointer(pointer), ours.pointer(pointer));
    }
    // What the platform, or somebody, adds is none of ours; and it writes ids as it likes.
    let mut more = ours.clone();
    more["properties"]["environmentVariables"]["AZUREML_EXTRA"] = json!("1");
    more["properties"]["environmentId"] = json!(ours["properties"]["environmentId"].as_str().unwrap().to_uppercase());
    cloud.meddle(&deployment, more.clone());
    assert_eq!(world.target().drift(world.look(), &receipt).await.unwrap(), []);
    world.next_run(&[("v1", 1.0)]);
    world.update().await.unwrap();
    assert_eq!(cloud.resource(&deployment), more);
    // Also where something else is put right.
    let mut both = more.clone();
    both["sku"]["capacity"] = json!(7);
    cloud.meddle(&deployment, both);
    world.next_run(&[("v1", 1.0)]);
    world.update().await.unwrap();
    let now = cloud.resource(&deployment);
    assert_eq!(
        (&now["sku"]["capacity"], &now["properties"]["environmentVariables"]["AZUREML_EXTRA"]),
        (&json!(1), &json!("1"))
    );
}

#[tokio::test]
async fn callers_are_let_in_as_before_until_the_new_version_answers() {
    let (cloud, mut world) = world().await;
    let receipt = world.update().await.unwrap();
    let path = format!("{ENDPOINT}/{}", endpoint_name(&cloud));
    let gate = || cloud.resource(&path)["properties"]["authMode"].clone();
    world.set("authMode", json!("AML_TOKEN"));
    world.set("requestTimeoutSeconds", json!(60));
    world.next_run(&[("v1", 1.0)]);
    let told: Vec<_> =
        world.target().preview(world.look()).await.unwrap().changes.into_iter().map(|one| one.what).collect();
    assert_eq!(told, ["the authentication of queries", "the settings of version v1"]);
    for step in [Step::Push, Step::Activate] {
        world.step(step).await.unwrap();
        assert_eq!(gate(), "Key", "{step:?}");
    }
    world.step(Step::Enforce).await.unwrap();
    assert_eq!(gate(), "AMLToken");
    world.step(Step::Restore).await.unwrap();
    assert_eq!((gate(), world.live().await), (json!("Key"), vec![("v1".to_owned(), 100.0)]));
    // What somebody opens or closes is told, too.
    world.spec.infrastructure.settings.remove("authMode");
    world.spec.infrastructure.settings.remove("requestTimeoutSeconds");
    let mut theirs = cloud.resource(&path);
    theirs["properties"]["publicNetworkAccess"] = json!("Disabled");
    cloud.meddle(&path, theirs);
    let found = world.target().drift(world.look(), &receipt).await.unwrap();
    assert_eq!(found.iter().map(|one| one.what.as_str()).collect::<Vec<_>>(), ["the public network access"]);
}

#[tokio::test]
async fn a_first_update_that_is_put_back_leaves_nothing_that_costs() {
    let (cloud, world) = world().await;
    for step in [Step::Push, Step::Activate] {
        world.step(step).await.unwrap();
    }
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
    assert_eq!((world.live().await, resources(&cloud, "/deployments/").len()), (vec![], 0));
}

#[tokio::test]
async fn an_endpoint_that_azure_failed_to_make_can_be_put_back_and_deleted() {
    let (cloud, mut world) = world().await;
    world.step(Step::Push).await.unwrap();
    assert!(matches!(world.attempt(Step::Activate).await, Ok(engine::failure::StepOutcome::NotYet { .. })));
    let path = format!("{ENDPOINT}/{}", endpoint_name(&cloud));
    let mut failed = cloud.resource(&path);
    failed["properties"]["provisioningState"] = json!("Failed");
    cloud.meddle(&path, failed);
    let changes = || cloud.calls().iter().filter(|call| is_change(call)).count();
    let before = changes();
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
    world.next_run(&[("v1", 1.0)]);
    world.step(Step::SwitchOff).await.unwrap();
    assert_eq!(changes(), before, "nothing is asked of it");
}

#[tokio::test]
async fn images_of_an_earlier_prefix_go_too() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    world.set("repositoryPrefix", json!("other/place"));
    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    world.step(Step::SwitchOff).await.unwrap();
    world.step(Step::Remove).await.unwrap();
    assert_eq!(cloud.effects()["registry"]["images"], json!([]));
}

#[tokio::test]
async fn a_restore_waits_for_what_is_put_right() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    let deployment = resources(&cloud, "/deployments/").remove(0);
    let mut theirs = cloud.resource(&deployment);
    theirs["sku"]["capacity"] = json!(7);
    cloud.meddle(&deployment, theirs);
    world.next_run(&[("v1", 0.5), ("v2", 0.5)]);
    world.step(Step::Push).await.unwrap();
    while cloud.resource(&deployment)["properties"]["provisioningState"] == "Succeeded" {
        assert!(matches!(world.attempt(Step::Activate).await, Ok(engine::failure::StepOutcome::NotYet { .. })));
    }
    world.step(Step::Restore).await.unwrap();
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
}

fn is_change(call: &CloudCall) -> bool {
    matches!(call.method.as_str(), "PUT" | "DELETE")
}

#[tokio::test]
async fn what_azure_is_at_is_followed_through_looks_that_fail() {
    let (cloud, mut world) = world().await;
    let paths = ("/subscriptions/**", "/subscriptions/**/onlineEndpoints/*/**");
    alike::follows((&cloud, &mut world), paths, is_change).await;
    assert_eq!(cloud.effects()["counts"]["deployments made"], 2);
}

#[tokio::test]
async fn an_image_that_nothing_names_goes_with_the_deployment() {
    let (cloud, mut world) = world().await;
    alike::clears_images((&cloud, &mut world), ("PUT", "/subscriptions/**")).await;
}

#[tokio::test]
async fn a_query_is_answered_with_the_endpoints_key() {
    let (_cloud, mut world) = world().await;
    world.update().await.unwrap();
    let query = ServiceQuery {
        headers: Vec::new(),
        endpoint: EndpointSpec { id: "predict".into(), kind: None },
        body: json!({"features": {"age": 3}}),
        timeout: std::time::Duration::from_secs(5),
    };
    let target = world.target();
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!((answer.status, &answer.body["asked"]), (200, &query.body));
    world.known.assert_untold(&format!("{answer:?}"));
    world.set("authMode", json!("AML_TOKEN"));
    world.next_run(&[("v1", 1.0)]);
    world.update().await.unwrap();
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_query_never_sends_the_key_in_clear_elsewhere() {
    let (cloud, world) = world().await;
    world.update().await.unwrap();
    let path = format!("{ENDPOINT}/{}", endpoint_name(&cloud));
    let mut endpoint = cloud.resource(&path);
    endpoint["properties"]["scoringUri"] = json!("http://198.51.100.1/score");
    cloud.meddle(&path, endpoint);
    let query = ServiceQuery {
        endpoint: EndpointSpec { id: "predict".into(), kind: None },
        headers: Default::default(),
        body: json!({}),
        timeout: std::time::Duration::from_secs(5),
    };
    let failure = world.target().services().unwrap().query(world.look(), &query).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "NODE_URL_INVALID");
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let settings = AzureSettings {
        actions: vec!["Microsoft.MachineLearningServices/workspaces/*/read".into(), "*/read".into()],
        registry_actions: vec!["pull".into()],
        ..AzureSettings::default()
    };
    let (_cloud, mut world) = of(settings, HostSettings::default()).await;
    world.spec.service.as_mut().unwrap().endpoint = Some("other".into());
    world.spec.service.as_mut().unwrap().authorization =
        Some(serde_json::from_value(json!({"method": "API_KEYS", "keys": []})).unwrap());
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "VALIDATION_FAILED");
    for said in [
        "ENDPOINT_MISSING",
        "AUTHORIZATION_UNSUPPORTED",
        "onlineEndpoints/write",
        "deployments/delete",
        "listKeys/action",
        "to push",
    ] {
        assert!(failure.message.contains(said), "{said}: {}", failure.message);
    }
    assert!(!failure.message.contains("workspaces/read"), "{}", failure.message);
    let report = world.target().check(&world.spec.infrastructure, &world.known).await.unwrap();
    assert!(report.problems.iter().any(|one| one.contains("AcrPush")), "{report:?}");

    world.spec.infrastructure.settings.clear();
    let report = world.target().check(&world.spec.infrastructure, &world.known).await.unwrap();
    for path in ["subscriptionId", "resourceGroup", "workspace", "location", "baseImage"] {
        assert!(report.problems.iter().any(|one| one.starts_with(path)), "{path}: {report:?}");
    }
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "VALIDATION_FAILED");
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_not_shown() {
    let (_cloud, mut world) = world().await;
    world.known.0.insert("secret-2".into(), "wr0ng-secret".into());
    world.connection().insert("clientSecret".into(), json!({"$secret": "secret-2"}));
    world.next_run(&[("v1", 1.0)]);
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "NODE_KEY_REJECTED");
    let connection = world.spec.infrastructure.connection.clone().unwrap();
    let failure = world.targets.connection("AZURE").unwrap().check(&connection, &world.known).await.unwrap_err();
    world.known.assert_untold(&format!("{failure:?}"));
    world.connection().insert("clientSecret".into(), json!({"$secret": "secret-1"}));
    let connection = world.spec.infrastructure.connection.clone().unwrap();
    let report = world.targets.connection("AZURE").unwrap().check(&connection, &world.known).await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn the_machines_identity_is_lent_by_the_operator_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", AzureSettings::default().federated)).unwrap();
    let host = HostSettings { federated_token_file: file, ..HostSettings::default() };
    let (cloud, world) = ambient(host.clone()).await;
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "AMBIENT_CREDENTIALS_OFF");
    assert_eq!(cloud.calls().len(), 0);
    let host = HostSettings { ambient_cloud_credentials: true, ..host };
    let (cloud, world) = ambient(host.clone()).await;
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "AMBIENT_CREDENTIALS_OFF");
    assert_eq!(cloud.calls().len(), 0, "not to an address that an administrator typed");
    let (cloud, mut world) = ambient(host.clone()).await;
    let host = HostSettings { ambient_endpoints: vec![cloud.url().to_owned()], ..host };
    world.targets = targets::Targets::on_host(targets::http::HttpSettings::default(), host).unwrap();
    world.step(Step::Validate).await.unwrap();
}

async fn ambient(host: HostSettings) -> (RunningCloud<Azure>, CloudWorld) {
    let (cloud, mut world) = of(AzureSettings::default(), host).await;
    world.connection().remove("clientSecret");
    world.connection().insert("authentication".into(), json!("WORKLOAD_IDENTITY"));
    (cloud, world)
}

#[tokio::test]
async fn the_vendors_own_model_takes_what_is_sent() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    world.next_run(&[("v1", 0.5), ("v2", 0.5)]);
    world.update().await.unwrap();
    let query = ServiceQuery {
        endpoint: EndpointSpec { id: "predict".into(), kind: None },
        headers: Default::default(),
        body: json!({"features": {"age": 3}}),
        timeout: std::time::Duration::from_secs(5),
    };
    world.target().services().unwrap().query(world.look(), &query).await.unwrap();
    world.step(Step::Remove).await.unwrap();
    judge::assert_right("azure_ml.py", &cloud.calls());
}
