//! The REST API, asked by the real `dataikuapi` client and by hand, in both sizes.

mod audited;
mod editors;
mod raw;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use sandbox::{BundleSpec, sample_bundle};
use serde_json::json;
use tests::{Fleet, Size, practice, slipway};

use crate::hook_test::python_with_client;

/// Runs a script of this folder under the real client. It asserts for itself.
async fn script(name: &str, fleet: &Fleet, more: serde_json::Value) {
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

#[tokio::test(flavor = "multi_thread")]
async fn users_groups_keys_and_acting_for_others() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let outsider = fleet.user("outsider", &[]);
    script("people.py", &fleet, json!({"outsider": outsider.key()})).await;
    assert!(slipway::binary().is_file());
}
