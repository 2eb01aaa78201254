//! Vertex AI, against a stand-in that is as strict as the vendor's discovery document.

use std::collections::BTreeMap;

use sandbox::{
    Fault, FaultKind,
    clouds::{
        CloudCall, Google, RunningCloud,
        google::{GoogleSettings, PLACE, TOKEN},
    },
};
use serde_json::{Value, json};
use targets::{
    TargetType, Targets,
    http::HttpSettings,
    spec::EndpointSpec,
    target::{Calling, Framing, ServiceQuery},
    tools::HostSettings,
};

use crate::{
    cloud::{CloudWorld, ODD_VERSIONS, Setup, alike, judge},
    support::Step,
};

pub(crate) async fn world() -> (RunningCloud<Google>, CloudWorld) {
    of(GoogleSettings { looks: 2, ..GoogleSettings::default() }, HostSettings::default()).await
}

async fn of(google: GoogleSettings, host: HostSettings) -> (RunningCloud<Google>, CloudWorld) {
    let subject = google.subject.clone();
    let cloud = RunningCloud::start(Google::new(google)).await.unwrap();
    let key = cloud.key_file("https://oauth2.googleapis.com/token");
    let private = serde_json::from_str::<Value>(&key).unwrap()["private_key"].as_str().unwrap().to_owned();
    let secrets = BTreeMap::from([
        ("key-1".to_owned(), key),
        ("private".to_owned(), private.lines().nth(1).unwrap().to_owned()),
        ("token".to_owned(), TOKEN.to_owned()),
        ("subject".to_owned(), subject),
    ]);
    let registry = "europe-west1-docker.pkg.dev";
    let settings = json!({
        "project": PLACE[0], "location": PLACE[2], "baseImage": format!("{registry}/base/api-node:1"),
        "repository": "scoring-prod/images", "labels": {"team": "scoring"}, "environmentVariables": {"LANG": "C.UTF-8"},
        "maxReplicas": 2, "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 1,
        "serviceAccount": "model@scoring-prod.iam.gserviceaccount.com", "requestLogTable": "bq://scoring-prod.logs.queries",
    });
    let connection = json!({
        "serviceAccountKey": {"$secret": "key-1"}, "registry": registry, "registryEndpoint": cloud.url(),
        "tokenEndpoint": format!("{}/token", cloud.url()), "resourceManagerEndpoint": cloud.url(), "vertexEndpoint": cloud.url(),
    });
    let setup = Setup { kind: TargetType::VertexAi, settings, connection: ("GCP", connection), secrets, host };
    (cloud, CloudWorld::new(setup).await)
}

fn resources(cloud: &RunningCloud<Google>, of: &str) -> Vec<String> {
    cloud.effects()["resources"].as_object().unwrap().keys().filter(|path| path.starts_with(of)).cloned().collect()
}

fn deployed(cloud: &RunningCloud<Google>) -> Vec<Value> {
    let endpoint = cloud.resource(&resources(cloud, "endpoints/")[0]);
    endpoint["deployedModels"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn from_nothing_to_two_versions_and_back_to_nothing() {
    let (cloud, mut world) = world().await;
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!((preview.changes[0].what.as_str(), preview.changes.len()), ("the endpoint", 2), "{preview:?}");
    let receipt = world.update().await.unwrap();
    assert!(receipt.differences.is_empty(), "{receipt:?}");
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
    assert_eq!(world.target().drift(world.look(), &receipt).await.unwrap(), []);

    world.next_run(&[("v1", 0.125), ("v2", 0.875)]);
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.problems, []);
    assert_eq!(preview.changes.len(), 2, "{preview:?}");
    let before = world.spec.infrastructure.settings.clone();
    world.set("machineType", json!("n1-standard-32"));
    let preview = world.target().preview(world.look()).await.unwrap();
    assert_eq!(preview.changes.len(), 3, "{preview:?}");
    world.spec.infrastructure.settings = before;
    let receipt = world.update().await.unwrap();
    let shares: Vec<_> = receipt.service.unwrap().versions.into_iter().map(|one| one.probability).collect();
    assert_eq!(shares, [0.13, 0.87]);
    assert_eq!(world.live().await, [("v2".to_owned(), 87.0), ("v1".to_owned(), 13.0)]);

    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    assert_eq!(world.live().await, [("v2".to_owned(), 100.0)]);
    assert_eq!(deployed(&cloud).len(), 1, "the old one is gone");

    world.next_run(&[("v2", 1.0)]);
    let before = cloud.effects();
    world.update().await.unwrap();
    assert_eq!(cloud.effects(), before, "nothing to do");

    world.set("requestLogTable", json!(""));
    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    let endpoint = cloud.resource(&resources(&cloud, "endpoints/")[0]);
    assert_eq!(endpoint["predictRequestResponseLoggingConfig"]["enabled"], false);

    world.step(Step::SwitchOff).await.unwrap();
    assert_eq!(world.live().await, []);
    assert_eq!(deployed(&cloud), Vec::<Value>::new());
    world.step(Step::Remove).await.unwrap();
    assert_eq!(cloud.effects()["resources"], json!({}));
    assert!(!world.target().observe(world.look()).await.unwrap().exists);
}

#[tokio::test]
async fn a_version_that_does_not_start_leaves_what_is_live() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    world.next_run(&[("v2", 1.0)]);
    cloud.fail_next(9, "Model server terminated: model server container out of memory.");
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    let failure = world.step(Step::Activate).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "PLATFORM_FAILED");
    for said in ["container out of memory", "FAILED_PRECONDITION"] {
        assert!(failure.message.contains(said), "{}", failure.message);
    }
    assert_eq!(world.live().await, [("v1".to_owned(), 100.0)]);
    assert_eq!(world.step(Step::Activate).await.unwrap_err().code.as_str(), "PLATFORM_FAILED");
    let (restored, _) = world.step(Step::Restore).await.unwrap();
    assert_eq!(restored["service"]["versions"][0]["version"], "v1");
    assert_eq!(deployed(&cloud).len(), 1);
    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    assert_eq!(world.live().await, [("v2".to_owned(), 100.0)]);
    assert_eq!(deployed(&cloud).len(), 1);
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
    assert_eq!(deployed(&cloud).len(), 1, "what this run deployed serves nothing, and goes");
    let (_cloud, fresh) = self::world().await;
    assert_eq!(fresh.step(Step::Restore).await.unwrap().0, Value::Null, "nothing was there");
}

#[tokio::test]
async fn what_a_failed_update_deployed_is_named_and_cleared() {
    let (cloud, mut world) = world().await;
    // The second of two fails, and nothing was there before.
    world.next_run(&[("v1", 0.5), ("v2", 0.5)]);
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    while !cloud.calls().iter().any(|call| call.path.ends_with(":deployModel")) {
        match world.attempt(Step::Activate).await.unwrap() {
            engine::failure::StepOutcome::NotYet { check_in } => world.run.advance(check_in),
            other => panic!("{other:?}"),
        }
    }
    cloud.fail_next(9, "Out of quota.");
    world.step(Step::Activate).await.unwrap_err();
    let service = world.target().observe(world.look()).await.unwrap().service.unwrap();
    let left = &service.troubles[0];
    assert_eq!((left.is_error, left.code.as_str()), (false, "PLATFORM_LEFT_RUNNING"));
    assert!(left.message.contains("version v1"), "{left:?}");
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
    assert_eq!(deployed(&cloud), Vec::<Value>::new());
    // What ran before this run without traffic is none of its own.
    world.next_run(&[("v1", 1.0)]);
    world.update().await.unwrap();
    world.next_run(&[("v2", 1.0)]);
    world.step(Step::Push).await.unwrap();
    world.step(Step::Activate).await.unwrap();
    world.next_run(&[("v2", 1.0)]);
    for step in [Step::Push, Step::Activate, Step::Restore] {
        world.step(step).await.unwrap();
    }
    assert_eq!(deployed(&cloud).len(), 2);
}

/// A fault of the next call of these APIs: the token is refused.
fn refused_once(method: &str, path: &str) -> Fault {
    let kind = FaultKind::Status { status: 401, error_type: None, message: None, retry_after: None };
    Fault::on(method, path, kind)
}

#[tokio::test]
async fn a_token_that_is_refused_is_got_anew_once() {
    let (cloud, mut world) = world().await;
    world.update().await.unwrap();
    let signed_in = |cloud: &RunningCloud<Google>| cloud.calls().iter().filter(|call| call.path == "/token").count();
    for (method, path) in [("GET", "/v1/**"), ("POST", "/v3/**"), ("PATCH", "/v1/**")] {
        world.next_run(&[if world.run.id % 2 == 0 { ("v2", 1.0) } else { ("v1", 1.0) }]);
        let before = signed_in(&cloud);
        cloud.arm(refused_once(method, path)).unwrap();
        world.update().await.unwrap();
        assert!(signed_in(&cloud) > before, "{method} {path}");
    }
    // Only once: what is refused again is told.
    cloud.arm(refused_once("GET", "/v1/**").for_ever()).unwrap();
    world.next_run(&[("v1", 1.0)]);
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "NODE_KEY_REJECTED");
}

#[tokio::test]
async fn a_test_signs_in_afresh() {
    let (cloud, world) = world().await;
    let connection = world.spec.infrastructure.connection.clone().unwrap();
    let checker = world.targets.connection("GCP").unwrap();
    checker.check(&connection, &world.known).await.unwrap();
    world.target().check(&world.spec.infrastructure, &world.known).await.unwrap();
    cloud.arm(refused_once("POST", "/token").for_ever()).unwrap();
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
    let report = world.target().check(&world.spec.infrastructure, &world.known).await.unwrap();
    assert_eq!((report.identity, report.problems), (GoogleSettings::default().account, vec![]));
    world.set("baseImage", json!("europe-west1-docker.pkg.dev/base/nothing:1"));
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
    let path = resources(&cloud, "endpoints/").remove(0);
    let ours = cloud.resource(&path);
    let mut theirs = ours.clone();
    theirs["deployedModels"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "7", "displayName": "theirs", "model": "projects/1/locations/l/models/x"}));
    cloud.meddle(&path, theirs);
    world.next_run(&[("v2", 1.0)]);
    world.update().await.unwrap();
    assert!(deployed(&cloud).iter().any(|one| one["id"] == "7"), "not ours to undeploy");
    assert_eq!(world.step(Step::Remove).await.unwrap_err().code.as_str(), "PLATFORM_NAME_TAKEN");

    let mut other = cloud.resource(&path);
    other["labels"] = json!({"slipway-owner": "somebody"});
    cloud.meddle(&path, other.clone());
    world.next_run(&[("v2", 1.0)]);
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "PLATFORM_NAME_TAKEN");
    assert_eq!(world.step(Step::Remove).await.unwrap_err().code.as_str(), "PLATFORM_NAME_TAKEN");
    assert_eq!(cloud.resource(&path), other);
}

#[tokio::test]
async fn drift_and_health_are_seen() {
    let (cloud, mut world) = world().await;
    let receipt = world.update().await.unwrap();
    let path = resources(&cloud, "endpoints/").remove(0);
    let mut endpoint = cloud.resource(&path);
    endpoint["deployedModels"][0]["dedicatedResources"]["maxReplicaCount"] = json!(9);
    endpoint["deployedModels"][0]["status"] = json!({"message": "out of quota", "availableReplicaCount": 0});
    cloud.meddle(&path, endpoint);
    let found = world.target().drift(world.look(), &receipt).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let troubles = world.target().observe(world.look()).await.unwrap().service.unwrap().troubles;
    assert!(troubles[0].is_error && troubles[0].message.contains("out of quota"));
    // The next update gives it as many machines as the settings say.
    world.next_run(&[("v1", 1.0)]);
    assert_eq!(world.update().await.unwrap().differences, []);
    assert_eq!(deployed(&cloud)[0]["dedicatedResources"]["maxReplicaCount"], 2);
    assert_eq!(cloud.effects()["counts"]["models deployed"], 1);
}

#[tokio::test]
async fn what_google_is_at_is_followed_through_looks_that_fail() {
    let (cloud, mut world) = world().await;
    let changes = |call: &CloudCall| call.method == "PATCH" || call.path.ends_with("Model");
    alike::follows((&cloud, &mut world), ("/v1/**", "/v1/**/operations/*"), changes).await;
    assert_eq!(cloud.effects()["counts"]["models deployed"], 2);
}

#[tokio::test]
async fn an_image_that_nothing_names_goes_with_the_deployment() {
    let (cloud, mut world) = world().await;
    alike::clears_images((&cloud, &mut world), ("POST", "/v1/**")).await;
}

#[tokio::test]
async fn a_first_update_that_is_put_back_leaves_nothing_that_costs() {
    let (cloud, world) = world().await;
    for step in [Step::Push, Step::Activate] {
        world.step(step).await.unwrap();
    }
    assert_eq!(world.step(Step::Restore).await.unwrap().0, Value::Null);
    assert_eq!((world.live().await, deployed(&cloud)), (vec![], vec![]));
}

#[tokio::test]
async fn previews_tell_all_that_makes_new_machines() {
    let (_cloud, mut world) = world().await;
    world.update().await.unwrap();
    world.next_run(&[("v1", 1.0)]);
    assert_eq!(world.target().preview(world.look()).await.unwrap().changes, []);
    for (setting, value, told) in [
        ("acceleratorCount", json!(2), "the number of accelerators of version v1"),
        ("environmentVariables", json!({"A": "b"}), "environment variables of version v1"),
        ("serviceAccount", json!("serving@p.iam.gserviceaccount.com"), "the service account of version v1"),
        ("accessLogging", json!(true), "the access log of version v1"),
        ("repository", json!("scoring-prod/other"), "the repository of the image of version v1"),
        ("requestLogTable", json!(""), "the logging of queries"),
        ("labels", json!({"a": "b"}), "the endpoint's labels"),
    ] {
        let before = world.spec.infrastructure.settings.clone();
        world.set(setting, value);
        let changes = world.target().preview(world.look()).await.unwrap().changes;
        assert!(changes.iter().any(|one| one.what == told), "{setting}: {changes:?}");
        world.spec.infrastructure.settings = before;
    }
    for (settings, path) in [
        (json!({"minReplicas": 5, "maxReplicas": 2}), "maxReplicas"),
        (json!({"acceleratorType": "NVIDIA_L4"}), "acceleratorCount"),
        (json!({"acceleratorCount": 2}), "acceleratorType"),
        (json!({"environmentVariables": {"AIP_HTTP_PORT": "1"}}), "environmentVariables.AIP_HTTP_PORT"),
    ] {
        let wrong = world.target().problems(settings.as_object().unwrap());
        assert_eq!(wrong.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [path]);
    }
}

#[tokio::test]
async fn a_query_becomes_instances_and_back() {
    let (cloud, world) = world().await;
    world.update().await.unwrap();
    let target = world.target();
    let mut query = ServiceQuery {
        headers: Vec::new(),
        endpoint: EndpointSpec { id: "predict".into(), kind: None },
        body: json!({"features": {"age": 3}}),
        timeout: std::time::Duration::from_secs(5),
    };
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!((answer.status, &answer.body), (200, &json!({"result": query.body})));
    // As its callers are told to.
    let path = cloud.calls().pop().unwrap().path;
    let calling = target.services().unwrap().calling(&world.spec).unwrap();
    assert_eq!(calling, Calling::Platform { path, framing: Framing::Instances });
    query.body = json!({"items": [{"features": {"age": 3}}, {"features": {"age": 4}}]});
    let answer = target.services().unwrap().query(world.look(), &query).await.unwrap();
    assert_eq!(answer.body["results"], query.body["items"]);
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let settings =
        GoogleSettings { permissions: Some(vec!["aiplatform.endpoints.get".into()]), ..GoogleSettings::default() };
    let (_cloud, mut world) = of(settings, HostSettings::default()).await;
    world.spec.service.as_mut().unwrap().endpoint = None;
    let failure = world.step(Step::Validate).await.unwrap_err();
    assert_eq!(failure.code.as_str(), "VALIDATION_FAILED");
    for said in [
        "ENDPOINT_NOT_CHOSEN",
        "aiplatform.endpoints.deploy",
        "aiplatform.models.upload",
        "iam.serviceAccounts.actAs",
        "uploadArtifacts",
    ] {
        assert!(failure.message.contains(said), "{said}: {}", failure.message);
    }
    assert!(!failure.message.contains("aiplatform.endpoints.get "), "{}", failure.message);
    world.spec.infrastructure.settings.clear();
    let report = world.target().check(&world.spec.infrastructure, &world.known).await.unwrap();
    for path in ["project", "location", "baseImage", "repository"] {
        assert!(report.problems.iter().any(|one| one.starts_with(path)), "{path}: {report:?}");
    }
}

#[tokio::test]
async fn a_key_is_used_where_it_may_and_never_told() {
    let (cloud, mut world) = world().await;
    let connection = world.spec.infrastructure.connection.clone().unwrap();
    let report = world.targets.connection("GCP").unwrap().check(&connection, &world.known).await.unwrap();
    assert_eq!(report.identity, GoogleSettings::default().account);

    assert_eq!(report.problems, [""; 0]);
    // Each place that it names is asked whether it is there.
    for place in ["vertexEndpoint", "resourceManagerEndpoint", "registryEndpoint"] {
        let mut connection = connection.clone();
        connection.settings.insert(place.into(), json!("http://127.0.0.1:1"));
        let report = world.targets.connection("GCP").unwrap().check(&connection, &world.known).await.unwrap();
        assert!(
            report.problems.len() == 1 && report.problems[0].contains("could not be reached"),
            "{place}: {report:?}"
        );
    }

    // What the key's file names is no place of ours, and must be https.
    world.known.0.insert("key-2".into(), cloud.key_file(&format!("{}/token", cloud.url())));
    world.connection().insert("serviceAccountKey".into(), json!({"$secret": "key-2"}));
    world.connection().insert("tokenEndpoint".into(), json!(""));
    world.next_run(&[("v1", 1.0)]);
    let calls = cloud.calls().len();
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "CREDENTIALS_INVALID");
    assert_eq!(cloud.calls().len(), calls);

    // Somebody else's account, whose key did not sign.
    let other = cloud.key_file("https://x").replace("slipway@", "other@");
    world.known.0.insert("key-3".into(), other);
    world.connection().insert("serviceAccountKey".into(), json!({"$secret": "key-3"}));
    world.connection().insert("tokenEndpoint".into(), json!(format!("{}/token", cloud.url())));
    world.next_run(&[("v1", 1.0)]);
    assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "NODE_KEY_REJECTED");
}

#[tokio::test]
async fn the_machines_identity_is_lent_by_the_operator_alone() {
    for by_url in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (cloud, mut world) = world().await;
        let token = folder.path().join("token");
        std::fs::write(&token, format!("{}\n", GoogleSettings::default().subject)).unwrap();
        let source = if by_url {
            json!({
                "url": format!("{}/subject", cloud.url()), "headers": {"Metadata": "yes"},
                "format": {"type": "json", "subject_token_field_name": "id_token"},
            })
        } else {
            json!({"file": token})
        };
        let account = json!({
            "type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "token_url": format!("{}/sts", cloud.url()), "credential_source": source,
            "service_account_impersonation_url": format!("{}/impersonate", cloud.url()),
        });
        let file = folder.path().join("credentials.json");
        std::fs::write(&file, account.to_string()).unwrap();
        world.connection().remove("serviceAccountKey");
        world.connection().insert("authentication".into(), json!("MACHINE"));
        world.next_run(&[("v1", 1.0)]);
        let hosts = [
            HostSettings { google_credentials_file: file.clone(), ..HostSettings::default() },
            HostSettings {
                google_credentials_file: file.clone(),
                ambient_cloud_credentials: true,
                ..HostSettings::default()
            },
        ];
        for host in hosts {
            world.targets = Targets::on_host(HttpSettings::default(), host).unwrap();
            assert_eq!(world.step(Step::Validate).await.unwrap_err().code.as_str(), "AMBIENT_CREDENTIALS_OFF");
            assert_eq!(cloud.calls().len(), 0, "not to an address that an administrator typed");
        }
        let host = HostSettings {
            google_credentials_file: file,
            ambient_cloud_credentials: true,
            ambient_endpoints: vec![cloud.url().to_owned()],
            ..HostSettings::default()
        };
        world.targets = Targets::on_host(HttpSettings::default(), host).unwrap();
        world.step(Step::Validate).await.unwrap();
    }
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
    let path = resources(&cloud, "endpoints/").remove(0);
    let mut endpoint = cloud.resource(&path);
    endpoint["deployedModels"][0]["dedicatedResources"]["maxReplicaCount"] = json!(9);
    cloud.meddle(&path, endpoint);
    world.next_run(&[("v1", 0.5), ("v2", 0.5)]);
    world.update().await.unwrap();
    world.step(Step::Remove).await.unwrap();
    judge::assert_right("vertex_ai.py", &cloud.calls());
}
