//! Step `activate`: the endpoint is there, each version runs beside what is live, then the traffic moves. Step `enforce_run_as`: who may call it is as it is to be.

use engine::{
    failure::{StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    bodies::{self, Traffic},
    change::{Resource, bring},
    session::{Planned, Session},
};
use crate::managed::{Flow, notes, ready};

/// The note of what was live before this run changed anything.
pub(super) const PRIOR: &str = "prior";

/// What was live. Written once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    /// Whether the endpoint was there.
    pub(super) exists: bool,
    /// Its traffic.
    pub(super) traffic: Traffic,
    /// How it let callers in; null where that was not looked at.
    #[serde(default)]
    pub(super) gate: Value,
    /// Its deployments, with traffic or without, by their names.
    #[serde(default)]
    pub(super) deployments: Vec<String>,
}

pub(super) async fn activate(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    note_prior(s, run).await?;
    let plan = s.plan(run)?;
    ready!(made(s, run).await?);
    for one in &plan {
        ready!(deployment(s, run, one).await?);
    }
    ready!(moved(s, run, &Resource::endpoint(s), &Value::Null, &traffic(&plan)).await?);
    Ok(StepOutcome::done())
}

pub(super) async fn enforce(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    let traffic = traffic(&s.plan(run)?);
    ready!(endpoint(s, run, &traffic).await?);
    Ok(StepOutcome::done())
}

/// Notes what was live, once.
pub(super) async fn note_prior(s: &Session<'_>, run: &dyn StepContext) -> Result<(), StepError> {
    if run.note(PRIOR).is_some() {
        return Ok(());
    }
    let prior = match s.endpoint().await? {
        None => Prior::default(),
        Some(endpoint) => {
            let deployments = s.deployments().await?;
            let names = deployments.iter().filter_map(|one| one["name"].as_str().map(str::to_owned));
            let (gate, traffic) = (bodies::gate(&endpoint), bodies::traffic(&endpoint));
            Prior { exists: true, traffic, gate, deployments: names.collect() }
        }
    };
    notes::write(run, PRIOR, &prior).await
}

/// What each deployment is to get.
pub(super) fn traffic(plan: &[Planned<'_>]) -> Traffic {
    let mut traffic = Traffic::new();
    for one in plan {
        *traffic.entry(one.name.clone()).or_default() += one.percent;
    }
    traffic
}

/// The endpoint is there. How it lets callers in, where it is not new, changes once the new versions answer.
async fn made(s: &Session<'_>, run: &dyn StepContext) -> Result<Flow<Value>, StepError> {
    let body = |there: Option<&Value>| Some(bodies::endpoint(s.spec, &s.settings, there, None));
    bring(s, run, &Resource::endpoint(s), body, |_| true).await
}

/// The endpoint is as the settings say, with this traffic.
async fn endpoint(s: &Session<'_>, run: &dyn StepContext, traffic: &Traffic) -> Result<Flow<Value>, StepError> {
    let body = |there: Option<&Value>| Some(bodies::endpoint(s.spec, &s.settings, there, Some(traffic)));
    let holds = |there: &Value| bodies::endpoint_holds(s.spec, &s.settings, there, Some(traffic));
    bring(s, run, &Resource::endpoint(s), body, holds).await
}

/// The endpoint has this traffic, and this gate unless that is null. One that is not there, or goes while we look, is not made for that.
async fn moved(
    s: &Session<'_>,
    run: &dyn StepContext,
    endpoint: &Resource<'_>,
    gate: &Value,
    traffic: &Traffic,
) -> Result<Flow<Value>, StepError> {
    let body = |there: Option<&Value>| there.map(|there| bodies::endpoint_as(there, gate, traffic));
    let holds = |there: &Value| bodies::traffic(there) == *traffic && bodies::has_gate(there, gate);
    bring(s, run, endpoint, body, holds).await
}

/// Traffic and gate are as they were before this run.
pub(super) async fn endpoint_before(
    s: &Session<'_>,
    run: &dyn StepContext,
    prior: &Prior,
) -> Result<Flow<Value>, StepError> {
    moved(s, run, &Resource::endpoint_before(s), &prior.gate, &prior.traffic).await
}

/// Nobody gets a query any more.
pub(super) async fn silence(s: &Session<'_>, run: &dyn StepContext) -> Result<Flow<Value>, StepError> {
    moved(s, run, &Resource::endpoint(s), &Value::Null, &Traffic::new()).await
}

/// A version runs. One of this name has this content; where somebody changed that, it is put right.
async fn deployment(s: &Session<'_>, run: &dyn StepContext, one: &Planned<'_>) -> Result<Flow<Value>, StepError> {
    let holds = |there: &Value| bodies::otherwise(there, &one.body).is_empty();
    let body = |there: Option<&Value>| Some(bodies::with_what_is_there(&one.body, there));
    bring(s, run, &Resource::deployment(s, &one.name), body, holds).await
}
