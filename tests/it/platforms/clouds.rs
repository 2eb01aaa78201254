//! Clouds' practice doubles: a service from its connection to its deletion, with an update that the platform fails on the way.

use std::sync::Arc;

use sandbox::{
    clouds::{Azure, Google, RunningCloud, azure, google},
    sagemaker::SageMaker,
};
use serde_json::{Value, json};
use tests::{Fleet, Size, scratch::Scratch};

use super::{
    repository::Images,
    snowflake::{
        account::{Account, DATABASE, POOL, REPOSITORY, SCHEMA},
        login::{ACCOUNT, PAT, USER},
    },
    versions,
};
use crate::{rest::script, wire::Server};

const REASON: &str = "the model server ran out of memory";

/// What a life on this cloud is told; `fail` lets the cloud fail the next change.
async fn whole_life(told: Value, secrets: &[&str], fail: impl Fn()) {
    let scratch = Scratch::new("cloud");
    // The binary of a build with debug information would take most of the test's time on its way into the image; nobody starts it here.
    std::fs::write(scratch.at("front"), "a front").unwrap();
    let fleet = Fleet::of(Size::Fleet).set("SLIPWAY_TARGETS_FRONT", scratch.at("front")).start().await;
    let outsider = fleet.user("outsider", &[]);
    for part in ["deploy", "fails", "delete"] {
        if part == "fails" {
            fail();
        }
        let mut told = told.clone();
        told["part"] = part.into();
        told["secrets"] = json!(secrets);
        told["versions"] = versions(&scratch);
        told["outsider"] = outsider.key().into();
        told["reason"] = REASON.into();
        script("../platforms/clouds.py", &fleet, told).await;
    }
    let logs = fleet.logs();
    assert!(secrets.iter().all(|secret| !logs.contains(secret)), "a log holds a secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_sagemaker() {
    let (key_id, secret) = ("AKIAPRACTICE00000001", "a-secret-key-of-the-cloud");
    let cloud = SageMaker::start("127.0.0.1:0".parse().unwrap(), "eu-west-1", key_id, secret).await.unwrap();
    cloud.set_slowness(1);
    cloud.add_repository("team/services");
    let told = json!({
        "kind": "SAGEMAKER",
        "connectionType": "AWS",
        "connection": {"region": "eu-west-1", "accessKeyId": key_id, "secretAccessKey": secret, "endpointUrl": cloud.url()},
        "connectionPlace": "endpointUrl",
        "settings": {
            "executionRoleArn": "arn:aws:iam::123456789012:role/sagemaker-execution",
            "baseImage": cloud.add_base_image("base/node", "1"),
            "repository": "team/services",
            "rollout": {"strategy": "CANARY", "waitSeconds": 60},
        },
        "wrong": ["rollout.strategy", {"rollout": {"strategy": "SIDEWAYS"}}],
        "calledAt": "/invocations",
    });
    whole_life(told, &[secret], || cloud.fail_next_change(REASON)).await;
    let left = cloud.effects();
    for kind in ["endpoints", "configs", "models"] {
        assert_eq!(left[kind], json!({}), "{kind} stay after the deployment was deleted: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_azure_ml() {
    let settings = azure::AzureSettings { looks: 1, ..Default::default() };
    let secret = settings.secret.clone();
    let connection = json!({
        "tenantId": settings.tenant, "clientId": settings.client, "clientSecret": secret, "registry": azure::REGISTRY,
    });
    let location = settings.location.clone();
    let cloud = RunningCloud::start(Azure::new(settings)).await.unwrap();
    let mut told = json!({
        "kind": "AZURE_ML",
        "connectionType": "AZURE",
        "connection": connection,
        "connectionPlace": "managementEndpoint",
        "settings": {
            "subscriptionId": azure::PLACE[0], "resourceGroup": azure::PLACE[1], "workspace": azure::PLACE[2],
            "location": location, "baseImage": format!("{}/base/api-node:1", azure::REGISTRY),
        },
        "wrong": ["instances", {"instances": -1}],
        "calledAt": "/score",
    });
    for place in ["registryEndpoint", "authorityEndpoint", "managementEndpoint"] {
        told["connection"][place] = cloud.url().into();
    }
    whole_life(told, &[&secret, azure::ENDPOINT_KEY], || {
        cloud.fail_next("ResourceNotReady", REASON, "it said no more")
    })
    .await;
    assert_eq!(cloud.effects()["resources"], json!({}), "what was made stays after the deployment was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_vertex_ai() {
    let settings = google::GoogleSettings { looks: 1, ..Default::default() };
    let cloud = RunningCloud::start(Google::new(settings)).await.unwrap();
    let key = cloud.key_file("https://oauth2.googleapis.com/token");
    let private = serde_json::from_str::<Value>(&key).unwrap()["private_key"].as_str().unwrap().to_owned();
    let registry = "europe-west1-docker.pkg.dev";
    let mut told = json!({
        "kind": "VERTEX_AI",
        "connectionType": "GCP",
        "connection": {"serviceAccountKey": key, "registry": registry, "tokenEndpoint": format!("{}/token", cloud.url())},
        "connectionPlace": "vertexEndpoint",
        "settings": {
            "project": google::PLACE[0], "location": google::PLACE[2], "repository": "scoring-prod/images",
            "baseImage": format!("{registry}/base/api-node:1"),
        },
        "wrong": ["maxReplicas", {"maxReplicas": -1}],
        "calledAt": ":predict",
    });
    for place in ["registryEndpoint", "resourceManagerEndpoint", "vertexEndpoint"] {
        told["connection"][place] = cloud.url().into();
    }
    let line = private.lines().nth(1).unwrap();
    whole_life(told, &[line, google::TOKEN], || cloud.fail_next(13, REASON)).await;
    assert_eq!(cloud.effects()["resources"], json!({}), "what was made stays after the deployment was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_snowpark() {
    let account = Arc::new(Account::default());
    let cloud = Server::start(Arc::clone(&account) as Arc<_>).await;
    let repository = Server::start(Arc::new(Images::new(USER, PAT, Box::new(account.hears())))).await;
    let host = repository.url.trim_start_matches("http://").to_owned();
    account.state().registry.clone_from(&host);
    let key = include_str!("../../../targets/tests/it/snowflake/keys/plain.pem");
    let told = json!({
        "kind": "SNOWPARK",
        "connectionType": "SNOWFLAKE",
        "connection": {
            "account": ACCOUNT, "user": USER, "privateKey": key, "registryPassword": PAT,
            "accountUrl": cloud.url, "registryHost": repository.url,
        },
        "connectionPlace": "accountUrl",
        "settings": {
            "database": DATABASE, "schema": SCHEMA, "computePool": POOL, "imageRepository": REPOSITORY,
            "baseImage": format!("http://{host}/base/node:1"), "publicEndpoint": true,
        },
        // Snowflake replaces what is live before it knows whether that starts.
        "deployment": {"onFailure": "RESTORE"},
        "wrong": ["maxInstances", {"maxInstances": -1}],
        "calledAt": "/predict",
    });
    let line = key.lines().nth(1).unwrap();
    whole_life(told, &[line, PAT], || account.state().next_fails = Some(REASON.to_owned())).await;
    let left = account.snapshot();
    assert_eq!(left, json!({"services": {}, "functions": []}), "what was made stays after the deployment was deleted");
}
