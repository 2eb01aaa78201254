//! Runs of scenarios. A run ends at once, with the outcome that was set for its scenario, unless that is RUNNING: then it
//! goes on until it is ended. The first question about a run finds it not started, as on a real node.

use crate::auth::{Need, Who};
use crate::clock::now_ms;
use crate::reply::{Answer, Refusal, Reply};
use crate::request::Asked;
use crate::scenarios::{RUN_AS, find, find_mut};
use crate::state::{Run, Scenario, run_as};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most runs that a scenario remembers.
const KEPT: usize = 1000;

fn value(key: &str, scenario: &Scenario, run: &Run) -> Value {
    let definition = &scenario.definition;
    let field = |name: &str| definition.get(name).cloned().unwrap_or_default();
    let mut value = json!({
        "runId": run.id,
        "scenario": {"projectKey": key, "id": field("id"), "name": field("name"), "markedAsTest": field("markedAsTest") == true},
        "trigger": {"trigger": run.trigger, "runId": run.trigger_run},
        "runAsUser": run.run_as, "start": run.at,
    });
    if run.has_ended() {
        value["end"] = json!(run.at);
        value["result"] = json!({"outcome": run.outcome, "start": run.at, "end": run.at});
    }
    value
}

/// `POST .../scenarios/S/run`, the body is the trigger's parameters.
pub(crate) fn run(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let params = asked.json.object()?.clone();
    let mut state = asked.core.state();
    find(state.project(who, key, Need::Run)?, id)?;
    let number = state.number();
    let outcome = state.outcomes.get(&(key.to_owned(), id.to_owned())).map_or("SUCCESS", String::as_str).to_owned();
    let project = state.project_mut(who, key, Need::Run)?;
    let bundle = project.active.as_ref().map(|active| active.id.clone());
    let scenario = find_mut(project, id)?;
    let trigger = json!({"id": format!("manual-{number}"), "type": "manual", "name": "manual", "params": params});
    let trigger_run = format!("trigger-{number}");
    if scenario.runs.len() >= KEPT {
        scenario.runs.remove(0);
    }
    scenario.runs.push(Run {
        id: format!("run-{number}"),
        trigger: trigger.clone(),
        trigger_run: trigger_run.clone(),
        run_as: run_as(&scenario.definition, RUN_AS),
        outcome,
        bundle,
        at: now_ms(),
        asked: false,
    });
    Ok(Reply::Json(
        json!({"projectKey": key, "scenarioId": id, "trigger": trigger, "runId": trigger_run, "cancelled": false}),
    ))
}

/// `POST .../scenarios/S/abort`: nothing runs for long enough to be aborted.
pub(crate) fn abort(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    find(asked.core.state().project(who, key, Need::Run)?, id)?;
    Ok(Reply::Json(json!({})))
}

/// `GET .../scenarios/trigger/S/T?triggerRunId=`.
pub(crate) fn trigger(asked: &Asked<'_>, who: &Who, key: &str, id: &str, trigger: &str) -> Answer {
    let state = asked.core.state();
    let scenario = find(state.project(who, key, Need::Read)?, id)?;
    let run = scenario.runs.iter().find(|run| run.trigger["id"] == trigger);
    let run = run.ok_or_else(|| Refusal::missing(format!("there is no trigger {trigger} of scenario {id}")))?;
    Ok(Reply::Json(
        json!({"projectKey": key, "scenarioId": id, "trigger": run.trigger, "runId": run.trigger_run, "cancelled": false}),
    ))
}

/// `GET .../scenarios/S/get-run-for-trigger?triggerId=&triggerRunId=`: without `scenarioRun` when not started.
pub(crate) fn for_trigger(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let trigger = asked.query.get("triggerId").ok_or_else(|| Refusal::bad("triggerId is needed"))?;
    let trigger_run = asked.query.get("triggerRunId").ok_or_else(|| Refusal::bad("triggerRunId is needed"))?;
    let mut state = asked.core.state();
    let scenario = find_mut(state.project_mut(who, key, Need::Read)?, id)?;
    let asked_before = scenario
        .runs
        .iter_mut()
        .find(|run| run.trigger["id"] == trigger && run.trigger_run == trigger_run)
        .map(|run| std::mem::replace(&mut run.asked, true))
        .ok_or_else(|| Refusal::missing(format!("there is no trigger {trigger} of scenario {id}")))?;
    let run = scenario.runs.iter().find(|run| run.trigger["id"] == trigger).filter(|_| asked_before);
    Ok(Reply::Json(run.map_or_else(|| json!({}), |run| json!({"scenarioRun": value(key, scenario, run)}))))
}

/// `GET .../scenarios/S/get-last-runs?limit=&onlyFinishedRuns=`, the newest first.
pub(crate) fn last(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let limit = match asked.query.get("limit") {
        None => 10,
        Some(text) => text.parse().map_err(|_| Refusal::bad("limit is no number"))?,
    };
    let finished = asked.query.get("onlyFinishedRuns").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let state = asked.core.state();
    let scenario = find(state.project(who, key, Need::Read)?, id)?;
    let runs = scenario.runs.iter().rev().filter(|run| !finished || run.has_ended());
    Ok(Reply::Json(runs.take(limit).map(|run| value(key, scenario, run)).collect()))
}

/// `GET .../scenarios/S/{runId}/`.
pub(crate) fn get(asked: &Asked<'_>, who: &Who, key: &str, id: &str, run: &str) -> Answer {
    let state = asked.core.state();
    let scenario = find(state.project(who, key, Need::Read)?, id)?;
    let found = scenario.runs.iter().find(|known| known.id == run);
    let found = found.ok_or_else(|| Refusal::missing(format!("there is no run {run} of scenario {id}")))?;
    Ok(Reply::Json(json!({"scenarioRun": value(key, scenario, found), "stepRuns": []})))
}

/// `GET .../scenarios/testing-status?bundleId=`: the last outcome of each test scenario that ran, under this bundle if one is named.
pub(crate) fn testing_status(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let bundle = asked.query.get("bundleId").filter(|id| !id.is_empty());
    let state = asked.core.state();
    let project = state.project(who, key, Need::Read)?;
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for scenario in project.scenarios.values() {
        if scenario.definition.get("markedAsTest") == Some(&json!(true))
            && let Some(run) = scenario
                .runs
                .iter()
                .rev()
                .find(|run| run.has_ended() && bundle.is_none_or(|bundle| run.bundle.as_deref() == Some(bundle)))
        {
            *outcomes.entry(&run.outcome).or_default() += 1;
        }
    }
    let total: u64 = outcomes.values().sum();
    Ok(Reply::Json(json!({"nbTotalRanScenarios": total, "nbScenariosPerOutcome": outcomes})))
}
