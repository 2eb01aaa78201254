//! What images say to the node in them: the versions with their shares, who may call, and where queries are logged. Keys are in none.

use std::{io::Read as _, path::Path, sync::Arc};

use bytes::Bytes;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use targets::{
    image::contract::{Authentication, EndpointType, ServedDeployment},
    service::{Auditing, Authorization},
    spec::SecretRef,
};

use crate::{
    azure_ml, images,
    k8s::{
        standin::{NAMESPACE, NEW, StandIn, TOKEN},
        world::{HIDDEN, World as Cluster},
    },
    sagemaker::world::World as Account,
    snowflake::world::{self as snowflake, World as Schema},
    support::Step,
    vertex_ai,
    wire::Server,
};

/// The documents in the layers among these blobs.
fn served<B: AsRef<[u8]>>(blobs: impl IntoIterator<Item = B>) -> Vec<ServedDeployment> {
    let mut all = Vec::new();
    for blob in blobs {
        let mut archive = tar::Archive::new(GzDecoder::new(blob.as_ref()));
        // What is no archive, a configuration or a base image's layer of nothing, has no entries.
        for mut entry in archive.entries().into_iter().flatten().map_while(Result::ok) {
            if entry.path().unwrap() == Path::new("opt/slipway/service/deployment.json") {
                let mut document = Vec::new();
                entry.read_to_end(&mut document).unwrap();
                all.push(ServedDeployment::parse(&document).unwrap());
            }
        }
    }
    all.sort_by(|one, other| one.generations[0].generation.cmp(&other.generations[0].generation));
    all
}

fn generations(document: &ServedDeployment) -> Vec<(&str, f64)> {
    document.generations.iter().map(|one| (one.generation.as_str(), one.proba)).collect()
}

fn event_server(key: Option<SecretRef>, variable: Option<&str>) -> Auditing {
    Auditing::EventServer {
        url: "https://events.example.com".to_owned(),
        key,
        key_variable: variable.map(str::to_owned),
        routing_key: "churn-prod".to_owned(),
        trust_all_certificates: false,
    }
}

/// As the node reads it.
fn told(variable: &str) -> Value {
    let target = json!({"type": "EVENT_SERVER", "url": "https://events.example.com", "keyVariable": variable});
    json!({"routingKey": "churn-prod", "targets": [target]})
}

#[tokio::test]
async fn on_kubernetes_all_versions_are_in_one_image() {
    let standin = StandIn::start(NEW).await;
    let images = Arc::new(images::Images::new("robot", HIDDEN[2], Box::new(|_, _, _| {})));
    let registry = Server::start(Arc::clone(&images) as Arc<_>).await;
    let mut world = Cluster::new(&standin.url, None, TOKEN, NAMESPACE, registry.url.trim_start_matches("http://"));
    world.set_everything();
    world.set("/baseImageTag", json!("base/node:1"));
    let mut versions = Vec::new();
    for (version, probability) in [("v1", 0.25), ("v2", 0.75)] {
        let package = Bytes::from(format!("the package of {version}"));
        let mut spec = world.service().versions[0].clone();
        spec.version = version.to_owned();
        spec.sha256 = images::digest(&package).trim_start_matches("sha256:").to_owned();
        spec.size = package.len() as u64;
        spec.probability = probability;
        world.store(package).await;
        versions.push(spec);
    }
    world.service().versions = versions;
    let key = Some(SecretRef { id: "variable".to_owned() });
    world.service().auditing = Some(event_server(key, None));
    world.new_run();
    for step in [Step::Validate, Step::Push, Step::Activate, Step::Enforce, Step::Verify] {
        world.step(step).await.unwrap();
    }
    let documents = served(images.contents().blobs());
    let [document] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!((document.service_id.as_str(), &document.endpoint), ("Churn_Score", &None));
    assert_eq!(generations(document), [("v1", 0.25), ("v2", 0.75)]);
    assert_eq!(document.auditing, Some(told("SLIPWAY_AUDIT_KEY")));
    let keys = Authentication::Keys { variable: "SLIPWAY_SERVICE_KEYS".to_owned() };
    assert_eq!(document.authentication, Some(keys));
    // The variables that it names are in the Secret that Pods have.
    let all = standin.applied();
    let secret = all.iter().find(|one| one["kind"] == "Secret" && one["type"] == "Opaque").unwrap();
    for variable in ["SLIPWAY_AUDIT_KEY", "SLIPWAY_SERVICE_KEYS"] {
        assert!(secret["data"][variable].is_string(), "{variable}");
    }
    let health = world.target().observe(world.look()).await.unwrap().service.unwrap();
    let shares: Vec<_> = health.versions.iter().map(|one| (one.version.as_str(), one.probability)).collect();
    assert_eq!(shares, [("v1", 0.25), ("v2", 0.75)]);

    // Tokens in place of keys: how they are checked is no secret.
    let tokens = json!({"issuer": "https://login.example", "jwksUri": "https://login.example/keys"});
    world.service().authorization = Some(Authorization::Oauth2(serde_json::from_value(tokens.clone()).unwrap()));
    world.service().auditing = None;
    world.new_run();
    for step in [Step::Validate, Step::Push] {
        world.step(step).await.unwrap();
    }
    let documents = served(images.contents().blobs());
    let with_tokens = documents.iter().find_map(|one| match &one.authentication {
        Some(Authentication::Jwt { settings }) => Some((settings, &one.auditing)),
        _ => None,
    });
    let (settings, auditing) = with_tokens.unwrap();
    assert_eq!((&settings["issuer"], &settings["jwksUri"]), (&tokens["issuer"], &tokens["jwksUri"]));
    assert_eq!(*auditing, None);
}

/// What a platform gets that lets in callers itself, and shares queries out by itself: an image a version.
fn assert_alone(documents: &[ServedDeployment], endpoint: &str) {
    let of: Vec<_> = documents.iter().map(generations).collect();
    assert_eq!(of, [[("v1", 1.0)], [("v2", 1.0)]]);
    for document in documents {
        assert_eq!(document.auditing, Some(told("EVENTS_KEY")));
        assert_eq!(document.authentication, Some(Authentication::Public));
        let served = document.endpoint.as_ref().unwrap();
        assert_eq!((served.id.as_str(), served.kind), (endpoint, EndpointType::StdPrediction));
    }
}

#[tokio::test]
async fn on_sagemaker_each_version_has_an_image() {
    let mut world = Account::new().await;
    world.service().auditing = Some(event_server(None, Some("EVENTS_KEY")));
    world.take(&[("v1", 0.25), ("v2", 0.75)]).await;
    world.update().await;
    assert_alone(&served(world.cloud.blobs()), "score");
}

#[tokio::test]
async fn on_azure_ml_each_version_has_an_image() {
    let (cloud, mut world) = azure_ml::world().await;
    world.next_run(&[("v1", 0.25), ("v2", 0.75)]);
    world.spec.service.as_mut().unwrap().auditing = Some(event_server(None, Some("EVENTS_KEY")));
    world.update().await.unwrap();
    assert_alone(&served(cloud.blobs()), "predict");
}

#[tokio::test]
async fn on_vertex_ai_each_version_has_an_image() {
    let (cloud, mut world) = vertex_ai::world().await;
    world.next_run(&[("v1", 0.25), ("v2", 0.75)]);
    world.spec.service.as_mut().unwrap().auditing = Some(event_server(None, Some("EVENTS_KEY")));
    world.update().await.unwrap();
    assert_alone(&served(cloud.blobs()), "predict");
}

#[tokio::test]
async fn on_snowpark_all_versions_are_in_one_image() {
    let mut world = Schema::new().await;
    world.service().auditing = Some(event_server(None, Some("EVENTS_KEY")));
    world.service().versions = vec![snowflake::version("v1", 0.25), snowflake::version("v2", 0.75)];
    world.update().await;
    let documents = served(world.images.contents().blobs());
    let [document] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!(generations(document), [("v1", 0.25), ("v2", 0.75)]);
    assert_eq!(
        (&document.auditing, &document.authentication),
        (&Some(told("EVENTS_KEY")), &Some(Authentication::Public))
    );
    assert_eq!(document.endpoint.as_ref().unwrap().arguments, ["age", "city"]);
}
