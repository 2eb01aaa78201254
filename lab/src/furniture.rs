//! What experiments deploy: a practice node, infrastructures on it, deployments of small bundles.

use sandbox::{BundleSpec, Node, sample_bundle};
use serde_json::{Value, json};

use crate::client::{Client, Trouble};

/// The administrator key that the practice node accepts.
pub const NODE_KEY: &str = "practice-admin-key-lab";
/// Enough that a hook does not fail for other hooks alone: an experiment wants to see slots lapse, not run out.
const WAIT_MS: u64 = 60_000;

/// The node.
pub fn practice() -> sandbox::Builder {
    Node::builder()
        .user("admin", &["administrators"], true)
        .user("deployer", &["deployers"], false)
        .user("runner", &["runners"], false)
        .user("analyst", &["data-team"], false)
        .group("data-team")
        .connection("sql-prod", "PostgreSQL")
        .connection("files-prod", "Filesystem")
        .admin_key(NODE_KEY)
}

/// A small bundle.
pub fn bundle_of(project: &str, bundle: &str) -> Vec<u8> {
    sample_bundle(&BundleSpec::new(project, bundle))
}

/// An infrastructure on the node at `url`.
///
/// # Errors
/// [`Trouble`].
pub async fn infrastructure(client: &Client, id: &str, url: &str, settle_ms: u64) -> Result<(), Trouble> {
    let input = json!({
        "id": id, "stage": "Test", "adminKey": NODE_KEY,
        "settings": {
            "nodeUrl": url,
            "connectionRemapping": [
                { "source": "sql-dev", "target": "sql-prod" }, { "source": "files-dev", "target": "files-prod" },
            ],
            "permissionsPropagation": "LIMITED",
            "deployAsUser": "deployer", "runAsScenarios": "runner", "runAsWebapps": "runner",
            "preHookWaitMs": WAIT_MS, "postHookWaitMs": WAIT_MS, "settleMs": settle_ms,
        },
    });
    let document = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { refusals { code message } } }";
    client.ask(document, json!({ "input": input })).await.map(drop)
}

/// A deployment of a bundle that was uploaded, under the key `on_node`.
///
/// # Errors
/// [`Trouble`].
pub async fn deployment(
    client: &Client,
    id: &str,
    infrastructure: &str,
    (project, bundle): (&str, &str),
    on_node: &str,
    settings: Value,
) -> Result<(), Trouble> {
    let input = json!({
        "id": id, "projectKey": project, "infrastructureId": infrastructure, "bundleId": bundle,
        "deployedProjectKey": on_node, "settings": settings,
    });
    let document =
        "mutation($input: CreateDeploymentInput!) { createDeployment(input: $input) { refusals { code message } } }";
    client.ask(document, json!({ "input": input })).await.map(drop)
}
