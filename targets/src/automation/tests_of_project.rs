//! The scenarios that are marked as tests: run, waited for, and counted by outcome.

use std::{collections::BTreeMap, time::Duration};

use engine::failure::Failure;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::client::{Api, As, object, unexpected};
use crate::{
    codes,
    http::CallError,
    on_node::{TestRun, TestingStatus},
};

/// So many test scenarios are run at most.
const MOST: usize = 200;
/// So many run at once.
const AT_ONCE: usize = 8;
/// How soon a run is asked about, and how seldom at last.
const SOON: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(5);

pub(super) async fn status(api: &Api, key: &str, bundle: Option<&str>) -> Result<TestingStatus, CallError> {
    let doing = "reading the testing status";
    let query: Vec<_> = bundle.map(|bundle| ("bundleId", bundle)).into_iter().collect();
    let answer = object(api.get_with(&["projects", key, "scenarios", "testing-status"], &query, doing).await?, doing)?;
    let mut per_outcome = BTreeMap::new();
    for (outcome, count) in answer.get("nbScenariosPerOutcome").and_then(Value::as_object).into_iter().flatten() {
        per_outcome.insert(api.clean(outcome), count.as_u64().ok_or_else(|| unexpected(doing))?);
    }
    let ran = answer.get("nbTotalRanScenarios").and_then(Value::as_u64);
    Ok(TestingStatus { ran: ran.unwrap_or_else(|| per_outcome.values().sum()), per_outcome })
}

/// Runs all test scenarios, and waits for their ends for as long as `within`. Dropped half-way, it leaves what was begun to the node.
pub(super) async fn run(api: &Api, key: &str, within: Duration) -> Result<TestRun, Failure> {
    let until = Instant::now() + within;
    let tests: Vec<_> = api.scenarios(key).await?.into_iter().filter(|scenario| scenario.test).collect();
    if tests.len() > MOST {
        let message = format!("The project has {} test scenarios; at most {MOST} are run in one go.", tests.len());
        return Err(Failure::new(codes::NODE_ANSWER_TOO_LARGE, message));
    }
    let runs = stream::iter(tests).map(|test| async move {
        let name = api.clean(test.name.as_deref().unwrap_or(&test.id));
        Ok::<_, CallError>((name, one(api, key, &test.id, until).await?))
    });
    let mut runs = runs.buffer_unordered(AT_ONCE);
    let mut answer = TestRun::default();
    while let Some(ended) = runs.next().await {
        match ended? {
            (_, Some(outcome)) => {
                answer.status.ran += 1;
                *answer.status.per_outcome.entry(outcome).or_default() += 1;
            }
            (name, None) => answer.unfinished.push(name),
        }
    }
    answer.unfinished.sort();
    Ok(answer)
}

/// Runs one; its outcome, or None when it has not ended in time.
async fn one(api: &Api, key: &str, scenario: &str, until: Instant) -> Result<Option<String>, CallError> {
    if Instant::now() >= until {
        return Ok(None);
    }
    let doing = "running a test scenario";
    let begun = api.act(&["projects", key, "scenarios", scenario, "run"], As::Actor, json!({}), doing).await?;
    if begun.get("cancelled").and_then(Value::as_bool).unwrap_or_default() {
        return Ok(Some("ABORTED".to_owned()));
    }
    let text =
        |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned).ok_or_else(|| unexpected(doing));
    let (trigger, run) = (text(begun.pointer("/trigger/id"))?, text(begun.get("runId"))?);
    let doing = "waiting for a test scenario";
    let path = ["projects", key, "scenarios", scenario, "get-run-for-trigger"];
    let query = [("triggerId", trigger.as_str()), ("triggerRunId", run.as_str())];
    let mut pause = SOON;
    loop {
        let answer = api.get_with(&path, &query, doing).await?;
        if let Some(outcome) = answer.pointer("/scenarioRun/result/outcome").and_then(Value::as_str) {
            return Ok(Some(api.clean(outcome)));
        }
        if Instant::now() + pause >= until {
            return Ok(None);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SELDOM);
    }
}
