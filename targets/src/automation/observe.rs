//! What the node shows of a deployed project: active bundle, switches, last runs, backends. Changes nothing.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{
    calls::{Scenario, is_running},
    client::{Api, list},
};
use crate::{
    codes,
    http::CallError,
    on_node::{LastRun, MOST_SCENARIOS, MOST_WEBAPPS, OnNode, Outcome, ScenarioOnNode, WebAppOnNode},
};

/// So many questions are under way at once.
const AT_ONCE: usize = 8;

pub(super) async fn observe(api: &Api, key: &str) -> Result<OnNode, CallError> {
    let Some(project) = api.project(key).await? else { return Ok(OnNode::default()) };
    let mut scenarios = api.scenarios(key).await?;
    scenarios.sort_by_key(|scenario| !scenario.active);
    let more_scenarios = scenarios.len().saturating_sub(MOST_SCENARIOS);
    scenarios.truncate(MOST_SCENARIOS);
    let scenarios = stream::iter(scenarios).map(|scenario| of_scenario(api, key, scenario)).buffered(AT_ONCE);
    let scenarios = scenarios.try_collect().await?;
    let webapps = api.webapps(key).await?.into_iter().take(MOST_WEBAPPS).map(|id| async move {
        let running = is_running(&api.backend_state(key, &id).await?);
        Ok::<_, CallError>(WebAppOnNode { id: api.clean(&id), running })
    });
    let webapps = stream::iter(webapps).buffered(AT_ONCE).try_collect().await?;
    Ok(OnNode {
        exists: true,
        active_bundle: project.active_bundle.map(|bundle| api.clean(&bundle)),
        scenarios,
        more_scenarios,
        webapps,
        service: None,
    })
}

async fn of_scenario(api: &Api, key: &str, scenario: Scenario) -> Result<ScenarioOnNode, CallError> {
    let last = match last_run(api, key, &scenario.id).await {
        // It was deleted since it was listed.
        Err(error) if error.is(&codes::NODE_NOT_FOUND) => None,
        last => last?,
    };
    let name = scenario.name.as_deref().unwrap_or(&scenario.id);
    Ok(ScenarioOnNode {
        name: api.clean(name),
        id: api.clean(&scenario.id),
        active: scenario.active,
        running: scenario.running,
        last,
    })
}

/// The newest run that has ended.
async fn last_run(api: &Api, key: &str, scenario: &str) -> Result<Option<LastRun>, CallError> {
    let doing = "reading a scenario's last run";
    let path = ["projects", key, "scenarios", scenario, "get-last-runs"];
    let runs = list(api.get_with(&path, &[("limit", "1"), ("onlyFinishedRuns", "True")], doing).await?, doing)?;
    let newest = runs.iter().find_map(|run| Some((run, run.pointer("/result/outcome")?.as_str()?)));
    Ok(newest.map(|(run, outcome)| LastRun {
        outcome: Outcome::read(outcome),
        started_ms: run.get("start").or_else(|| run.pointer("/result/start")).and_then(Value::as_i64),
    }))
}
