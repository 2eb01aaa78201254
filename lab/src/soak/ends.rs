//! What is left at the end: on the node, and in the pool.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    calls::deploy_spec,
    scene::{Deployment, Scene},
    seen::Seen,
    stage::Stage,
};
use crate::failure::LabError;

/// How long the last turn may take.
const SETTLES: Duration = Duration::from_secs(10);

/// The pool of the hooks, when nothing runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// Slots that nobody uses and nobody can have, now or by the number of those that are written down.
    pub(super) leaked: i64,
    pub(super) waiting: i64,
    pub(super) grants: i64,
    pub(super) timeouts: i64,
}

/// Asks for the pool of the hooks; whoever freed the last slot may still be about to take the turn that says so.
pub(super) async fn pool(stage: &Stage) -> Result<Pool, LabError> {
    let end = Instant::now() + SETTLES;
    loop {
        let document = "{ hookPool { liveHolders slotsHeld waiting grants timeouts } }";
        let pool = stage.client.ask(document, json!({})).await?;
        let number = |name: &str| pool[name].as_i64().or_else(|| pool[name].as_str()?.parse().ok()).unwrap_or(-1);
        let leaked = number("liveHolders").max(number("slotsHeld"));
        let pool = Pool { leaked, waiting: number("waiting"), grants: number("grants"), timeouts: number("timeouts") };
        if (pool.leaked, pool.waiting) == (0, 0) || Instant::now() > end {
            return Ok(pool);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Where the node is not as the last run of a deployment says.
pub(super) fn differences(stage: &Stage, scene: &Scene, seen: &Seen) -> Vec<String> {
    let snapshot = stage.node.snapshot();
    let of = |deployment: &Deployment| {
        let last = seen.runs.values().rev().find(|run| run.row.deployment_id == deployment.id);
        let Some(wanted) = last.and_then(deploy_spec) else {
            return vec![format!("{}: it has no run", deployment.id)];
        };
        let project = &snapshot["projects"][&deployment.on_node];
        let found = found(project);
        let spec = &wanted.spec;
        let mut expected = BTreeMap::from([
            ("active bundle".to_owned(), json!(wanted.bundle)),
            ("local variables".to_owned(), json!(spec.local_variables)),
            (
                "connection remapping".to_owned(),
                json!(spec.connection_remapping.iter().map(|one| [&one.source, &one.target]).collect::<Vec<_>>()),
            ),
        ]);
        for id in keys(&project["scenarios"]) {
            let run_as = json!(spec.infrastructure.run_as_scenarios);
            expected.insert(format!("user of scenario {id}"), run_as);
            if let Some(on) = spec.scenarios.get(&id) {
                expected.insert(format!("scenario {id} is on"), json!(on));
            }
        }
        for id in keys(&project["webapps"]) {
            let run_as = json!(spec.infrastructure.run_as_webapps);
            expected.insert(format!("user of web app {id}"), run_as.clone());
            expected.insert(format!("user of the backend of web app {id}"), run_as);
        }
        let differs = |(what, wanted): (String, Value)| {
            let found = found.get(&what).unwrap_or(&Value::Null);
            (*found != wanted).then(|| format!("{}: {what} is {found}, not {wanted}", deployment.id))
        };
        expected.into_iter().filter_map(differs).collect()
    };
    scene.deployments.iter().flat_map(of).collect()
}

fn keys(object: &Value) -> Vec<String> {
    object.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
}

fn found(project: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::from([
        ("active bundle".to_owned(), project["activeBundle"].clone()),
        ("local variables".to_owned(), project["variables"]["local"].clone()),
    ]);
    let remapping = &project["settings"]["bundleContainerSettings"]["remapping"]["connections"];
    let pairs: Vec<_> =
        remapping.as_array().into_iter().flatten().map(|one| json!([one["source"], one["target"]])).collect();
    found.insert("connection remapping".to_owned(), json!(pairs));
    for id in keys(&project["scenarios"]) {
        let scenario = &project["scenarios"][&id];
        found.insert(format!("user of scenario {id}"), scenario["runAs"].clone());
        found.insert(format!("scenario {id} is on"), scenario["active"].clone());
    }
    for id in keys(&project["webapps"]) {
        let webapp = &project["webapps"][&id];
        found.insert(format!("user of web app {id}"), webapp["runAs"].clone());
        found.insert(format!("user of the backend of web app {id}"), webapp["backend"]["runAs"].clone());
    }
    found
}
