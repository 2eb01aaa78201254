//! What is deployed where: two infrastructures on the practice node, hooks before and after, a few bundles, and deployments of their own projects.

use serde_json::{Value, json};

use super::{settings::Settings, stage::Stage, watch::Watch};
use crate::{client::Client, failure::LabError, furniture};

/// Bundles of each project.
pub(super) const BUNDLES: [&str; 3] = ["v1", "v2", "v3"];
/// The infrastructures; odd deployments are on the second.
const INFRASTRUCTURES: [&str; 2] = ["soak-a", "soak-b"];

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
            furniture::infrastructure(client, id, &stage.node_url(), settings.times.settle).await?;
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
                client.upload(furniture::bundle_of(&project, bundle)).await?;
            }
            // A project is made of its bundle under its own key, else it is made empty and the bundle imported.
            let on_node = if number % 2 == 0 { project.clone() } else { format!("{project}_LIVE") };
            let id = format!("soak-{number}");
            let settings =
                json!({ "scenarios": [{ "id": "DAILY", "on": true }], "localVariables": { "region": "r0" } });
            let bundle = (project.as_str(), BUNDLES[0]);
            furniture::deployment(client, &id, INFRASTRUCTURES[number % 2], bundle, &on_node, settings).await?;
            deployments.push(Deployment { id, on_node });
        }
        Ok(Self { deployments })
    }
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
