//! The REST API, asked by the real `dataikuapi` client and by hand, in both sizes.

mod audited;
mod editors;
mod raw;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use sandbox::{ApiNode, BundleSpec, Outside, ServiceSpec, sample_bundle, sample_service};
use serde_json::json;
use tests::{Fleet, PATIENCE, Size, practice, scratch::Scratch, slipway, until_true};

use crate::hook_test::python_with_client;

/// Runs a script, by its path from this folder, under the real client. It asserts for itself.
pub(crate) async fn script(name: &str, fleet: &Fleet, more: serde_json::Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/rest");
    let mut told = json!({"url": fleet.client.url(), "key": fleet.client.key()});
    if let (Some(told), serde_json::Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more);
    }
    let mut command = Command::new(python_with_client());
    command.arg(folder.join(name)).arg(told.to_string()).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(
        output.status.success(),
        "{name}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Sample bundles as files, by name.
fn archives(fleet: &Fleet) -> serde_json::Value {
    let write = |id: &str| {
        let path = fleet.scratch().at(&format!("{id}.zip"));
        std::fs::write(&path, sample_bundle(&BundleSpec::new("CHURN", id))).unwrap();
        path
    };
    json!({"v1": write("v1"), "v2": write("v2")})
}

async fn whole_deployer(size: Size) {
    let fleet = Fleet::of(size).start().await;
    let node = practice::node().await;
    let outsider = fleet.user("outsider", &[]);
    let more = json!({
        "node": node.url(), "node_key": practice::NODE_KEY, "outsider": outsider.key(), "bundles": archives(&fleet),
    });
    script("deployer.py", &fleet, more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_project_deployer_embedded() {
    whole_deployer(Size::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_project_deployer_in_a_fleet() {
    whole_deployer(Size::Fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_behind_one_infrastructure() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let (one, other) = (practice::node().await, practice::node().await);
    for node in [&one, &other] {
        node.set_user("analyst", &[], false);
    }
    let outsider = fleet.user("outsider", &[]);
    let more = json!({
        "nodes": {"auto-1": one.url(), "auto-2": other.url()}, "node_key": practice::NODE_KEY,
        "outsider": outsider.key(), "bundles": archives(&fleet),
    });
    script("nodes.py", &fleet, more).await;
}

/// A service on two API nodes that share a folder with the workers.
async fn whole_api_deployer(size: Size) {
    const NODE_KEY: &str = "a-key-of-the-nodes";
    let scratch = Scratch::new("services");
    let (folder, config) = (scratch.path().join("models"), scratch.at("slipway.toml"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(&config, format!("[targets.shared_folders]\nmodels = {:?}\n", folder.display().to_string()))
        .unwrap();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let node = ApiNode::builder().admin_key(NODE_KEY).packages(&folder);
        nodes.push(node.start("127.0.0.1:0".parse().unwrap()).await.unwrap());
    }
    let fleet = Fleet::of(size).set("SLIPWAY_CONFIG", &config).start().await;
    for group in ["deployers", "askers"] {
        let document = "mutation($name: String!) { createGroup(name: $name) { refusals { code } } }";
        fleet.client.graphql(document, json!({"name": group})).await;
    }
    let (outsider, asker) = (fleet.user("outsider", &[]), fleet.user("asker", &["askers"]));
    let version = |service: &str, id: &str| {
        let path = scratch.at(&format!("{service}-{id}.zip"));
        let endpoint = json!({"id": "score", "type": "STD_PREDICTION", "testQueries": [{"q": {"features": {"a": 2}}}]});
        let mut spec = ServiceSpec::new(service, id);
        spec.more.insert("endpoints".to_owned(), json!([endpoint]));
        std::fs::write(&path, sample_service(&spec)).unwrap();
        path
    };
    // What it hears of the deployer itself; the nodes send theirs, too.
    let events = Outside::open("\"via\":\"DEPLOYER\"").await.unwrap();
    let more = json!({
        "events": events.url(), "nodes": nodes.iter().map(|node| node.url()).collect::<Vec<_>>(), "node_key": NODE_KEY, "folder": folder,
        "outsider": outsider.key(), "asker": asker.key(),
        "versions": {"v1": version("fraud", "v1"), "v2": version("fraud", "v2"), "other": version("churn", "v1")},
    });
    script("services.py", &fleet, more).await;
    until_true("queries through the deployer are logged", PATIENCE, || async {
        events.take().iter().any(|call| call.method == "POST" && call.url.ends_with("/events") && call.mentions)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_deployer_embedded() {
    whole_api_deployer(Size::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_deployer_in_a_fleet() {
    whole_api_deployer(Size::Fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_groups_keys_and_acting_for_others() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let outsider = fleet.user("outsider", &[]);
    script("people.py", &fleet, json!({"outsider": outsider.key()})).await;
    assert!(slipway::binary().is_file());
}
