//! A stand-in of a Kubernetes cluster, through the whole product, wherever these tests run; a real control plane is in `k8s`, where its programs are.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{Client, Fleet, Size, models::Models};

use super::{
    repository::Images,
    standin::{NAMESPACE, NEW, StandIn, TOKEN},
};
use crate::wire::Server;

const PASSWORD: &str = "of-the-registry-alone";
const REFUSALS: &str = "refusals { code field message }";

/// Settings of the infrastructure, beside where it is.
async fn set(api: &Client, more: &[(&str, Value)]) -> Vec<(String, String)> {
    let seen = api.ask("{ infrastructure(id: \"cluster\") { version settings { platform } } }", json!({})).await;
    let mut platform = seen["settings"]["platform"].clone();
    for (pointer, value) in more {
        *platform.pointer_mut(pointer).unwrap() = value.clone();
    }
    let input = json!({"id": "cluster", "expectedVersion": seen["version"], "settings": {"platform": platform}});
    let document = format!(
        "mutation($input: UpdateInfrastructureInput!) {{ updateInfrastructure(input: $input) {{ {REFUSALS} }} }}"
    );
    api.refused(&document, json!({"input": input})).await
}

/// The image that the Deployment runs.
fn image(cluster: &StandIn) -> String {
    let all = cluster.effects();
    let (_, deployment) = all.iter().find(|(name, _)| name.starts_with("deployments/")).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_on_a_cluster_that_is_led_elsewhere_by_nobody() {
    let cluster = StandIn::start(NEW).await;
    let images = Arc::new(Images::new("robot", PASSWORD, Box::new(|_, _, _| {})));
    let registry = Server::start(Arc::clone(&images) as Arc<_>).await;
    let fleet = Fleet::of(Size::Fleet).start().await;
    let api = &fleet.client;
    let platform = json!({
        "cluster": {"apiServer": cluster.url, "token": TOKEN},
        "k8sNamespace": NAMESPACE,
        "registryHost": registry.url.trim_start_matches("http://"), "registryPlainHttp": true,
        "registryUser": "robot", "registryPassword": PASSWORD,
        "imagesNamePrefix": "team", "baseImageTag": "base/node:1",
        "workload": {"failingPodSeconds": 5},
    });
    let input = json!({"id": "cluster", "kind": "K8S", "stage": "Test", "settings": {"platform": platform}});
    let document = format!(
        "mutation($input: CreateInfrastructureInput!) {{ createInfrastructure(input: $input) {{ {REFUSALS} }} }}"
    );
    api.ask(&document, json!({"input": input})).await;
    let check = api.ask("mutation { checkInfrastructure(id: \"cluster\") { report { problems } failure { message } refusals { code } } }", json!({})).await;
    assert_eq!((&check["report"]["problems"], &check["failure"]), (&json!([]), &Value::Null), "{check:#}");
    api.ask(&format!("mutation {{ createPublishedService(id: \"fraud\") {{ {REFUSALS} }} }}"), json!({})).await;
    for version in ["v1", "v2"] {
        api.upload_version(Models::version("fraud", version, &json!({"features": {"a": 1}}))).await;
    }
    let document = format!(
        "mutation($input: CreateServiceDeploymentInput!) {{ createServiceDeployment(input: $input) {{ {REFUSALS} }} }}"
    );
    let shares = json!([{"version": "v1", "probability": 0.25}, {"version": "v2", "probability": 0.75}]);
    let keys = json!({"method": "API_KEYS", "keys": ["of-a-caller"]});
    let deployment = json!({
        "id": "fraud-prod", "serviceId": "fraud", "infrastructureId": "cluster", "version": "v1",
        "settings": {"onFailure": "RESTORE", "service": {"versions": shares, "authorization": keys}},
    });
    api.ask(&document, json!({"input": deployment})).await;
    let preview = "{ previewUpdate(deploymentId: \"fraud-prod\") { preview { found { problems { message } changes { what } } failure { message } } refusals { code } } }";
    let preview = api.ask(preview, json!({})).await;
    let preview = &preview["preview"]["found"];
    assert_eq!(preview["problems"], json!([]), "{preview:#}");
    assert!(!preview["changes"].as_array().unwrap().is_empty(), "{preview:#}");
    api.run("fraud-prod", "SUCCEEDED").await;
    let health = "{ deployment(id: \"fraud-prod\") { health { health messages { code message } } } }";
    let said = api.ask(health, json!({})).await;
    assert_eq!(said["health"]["health"], "HEALTHY", "{said:#}");
    let first = image(&cluster);
    assert!(first.contains("/team/fraud@sha256:"), "{first}");

    // A rollout whose image can't be pulled is told by the Pod's reason, and put back.
    assert_eq!(set(api, &[("/imagesNamePrefix", json!("unpullable"))]).await, []);
    let failed = api.run("fraud-prod", "FAILED").await;
    assert_eq!(failed["failure"]["code"], "K8S_ROLLOUT_FAILED", "{failed:#}");
    assert!(failed["failure"]["message"].as_str().unwrap().contains("ImagePullBackOff"), "{failed:#}");
    assert_eq!(image(&cluster), first);
    assert_eq!(set(api, &[("/imagesNamePrefix", json!("team"))]).await, []);
    api.run("fraud-prod", "SUCCEEDED").await;

    // Nobody leads it elsewhere with the secrets that are there: neither the token, nor, by a token of their own, the registry's password.
    let refused = |fields: &[&str]| -> Vec<_> {
        fields.iter().map(|field| ("ADMIN_KEY_MASKED".to_owned(), format!("platform.{field}"))).collect()
    };
    let elsewhere = ("/cluster/apiServer", json!("http://127.0.0.1:9"));
    let mut told = set(api, std::slice::from_ref(&elsewhere)).await;
    told.sort();
    assert_eq!(told, refused(&["cluster.token", "registryPassword"]));
    let told = set(api, &[elsewhere, ("/cluster/token", json!("mine"))]).await;
    assert_eq!(told, refused(&["registryPassword"]));
    // Another token for the same cluster is no such thing.
    assert_eq!(set(api, &[("/cluster/token", json!(TOKEN))]).await, []);
    api.run("fraud-prod", "SUCCEEDED").await;

    let gone = api.tell("deleteDeployment(id: \"fraud-prod\", onNode: DELETE_PROJECT)", "update { id }").await;
    assert_eq!(api.over(gone["update"]["id"].as_str().unwrap()).await["status"], "SUCCEEDED");
    let left = cluster.effects();
    assert!(
        left.keys().all(|name| name.starts_with("serviceaccounts/") || name.starts_with("namespaces/")),
        "{left:#?}"
    );
    let logs = fleet.logs();
    assert!([TOKEN, PASSWORD, "of-a-caller"].iter().all(|secret| !logs.contains(secret)), "a log holds a secret");
}
