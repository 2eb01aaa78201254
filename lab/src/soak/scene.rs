//! What is deployed where: two infrastructures on the practice node, hooks before and after, a few bundles, and deployments of their own projects.

use sandbox::{BundleSpec, sample_bundle};
use serde_json::{Value, json};

use super::{
    settings::Settings,
    stage::{NODE_KEY, Stage},
    watch::Watch,
};
use crate::{client::Client, failure::LabError};

/// Bundles of each project.
pub(super) const BUNDLES: [&str; 3] = ["v1", "v2", "v3"];
/// The infrastructures; odd deployments are on the second.
const INFRASTRUCTURES: [&str; 2] = ["soak-a", "soak-b"];
/// Enough that a hook does not fail for other hooks alone: the soak wants to see slots lapse, not run out.
const WAIT_MS: u64 = 60_000;

/// The deployments.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) deployments: Vec<Deployment>,
}

/// One deployment, alone in its project on the node.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) id: String,
    /// The project's key on the node.
    pub(super) on_node: String,
}

impl Scene {
    /// Makes everything that will be asked for.
    pub(super) async fn furnish(stage: &Stage, watch: &Watch, settings: &Settings) -> Result<Self, LabError> {
        let client = &stage.client;
        for (place, id) in INFRASTRUCTURES.into_iter().enumerate() {
            infrastructure(client, id, &stage.node_url(), settings).await?;
            // The first one's hooks may be run again after an interruption, the second one's hook after a deployment may not. What a hook leaves
            // behind is ended and warned of: updates on the second one end as WARNING.
            let quick = json!({ "name": "quick", "code": watch.hook(false) });
            let daemon = json!({ "name": "daemon", "code": watch.hook(true) });
            let (before, after) = match place {
                0 => (json!([quick]), json!([{ "name": "again", "code": watch.hook(false), "onInterrupt": "RERUN" }])),
                _ => (json!([daemon]), json!([{ "name": "once", "code": watch.hook(false) }])),
            };
            hooks(client, id, "PRE", before).await?;
            hooks(client, id, "POST", after).await?;
        }
        let count = (settings.workers * 3).clamp(6, 30);
        let mut deployments = Vec::new();
        for number in 1..=count {
            let project = format!("SOAK{number}");
            for bundle in BUNDLES {
                client.upload(bundle_of(&project, bundle)).await?;
            }
            // A project is made of its bundle under its own key, else it is made empty and the bundle imported.
            let on_node = if number % 2 == 0 { project.clone() } else { format!("{project}_LIVE") };
            let id = format!("soak-{number}");
            let input = json!({
                "id": id, "projectKey": project, "infrastructureId": INFRASTRUCTURES[number % 2], "bundleId": BUNDLES[0],
                "deployedProjectKey": on_node,
                "settings": { "scenarios": [{ "id": "DAILY", "on": true }], "localVariables": { "region": "r0" } },
            });
            let document = "mutation($input: CreateDeploymentInput!) { createDeployment(input: $input) { refusals { code message } } }";
            client.ask(document, json!({ "input": input })).await?;
            deployments.push(Deployment { id, on_node });
        }
        Ok(Self { deployments })
    }
}

/// A small bundle.
pub(super) fn bundle_of(project: &str, bundle: &str) -> Vec<u8> {
    sample_bundle(&BundleSpec::new(project, bundle))
}

async fn infrastructure(client: &Client, id: &str, url: &str, settings: &Settings) -> Result<(), LabError> {
    let input = json!({
        "id": id, "stage": "Test", "adminKey": NODE_KEY,
        "settings": {
            "nodeUrl": url,
            "connectionRemapping": [
                { "source": "sql-dev", "target": "sql-prod" }, { "source": "files-dev", "target": "files-prod" },
            ],
            "permissionsPropagation": "LIMITED",
            "deployAsUser": "deployer", "runAsScenarios": "runner", "runAsWebapps": "runner",
            "preHookWaitMs": WAIT_MS, "postHookWaitMs": WAIT_MS, "settleMs": settings.times.settle,
        },
    });
    let document = "mutation($input: CreateInfrastructureInput!) { createInfrastructure(input: $input) { refusals { code message } } }";
    client.ask(document, json!({ "input": input })).await?;
    Ok(())
}

async fn hooks(client: &Client, infrastructure: &str, phase: &str, hooks: Value) -> Result<(), LabError> {
    let seen =
        client.ask("query($id: ID!) { infrastructure(id: $id) { version } }", json!({ "id": infrastructure })).await?;
    let document = "mutation($id: ID!, $phase: HookPhase!, $hooks: [HookInput!]!, $version: Long!) {
      setHooks(infrastructureId: $id, phase: $phase, hooks: $hooks, expectedVersion: $version) { refusals { code message } } }";
    let variables = json!({ "id": infrastructure, "phase": phase, "hooks": hooks, "version": seen["version"] });
    client.ask(document, variables).await?;
    Ok(())
}
