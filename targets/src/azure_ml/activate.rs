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
    /// Its deployments, with traffic or without, by their names.
    #[serde(default)]
    pub(super) deployments: Vec<String>,
}

pub(super) async fn activate(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    note_prior(s, run).await?;
    let plan = s.plan(run)?;
    ready!(endpoint(s, run, None).await?);
    for one in &plan {
        ready!(deployment(s, run, one).await?);
    }
    ready!(endpoint(s, run, Some(&traffic(&plan))).await?);
    Ok(StepOutcome::done())
}

pub(super) async fn enforce(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    let traffic = traffic(&s.plan(run)?);
    ready!(endpoint(s, run, Some(&traffic)).await?);
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
            Prior { exists: true, traffic: bodies::traffic(&endpoint), deployments: names.collect() }
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

/// The endpoint is there and as the settings say; its traffic is `traffic`, or as it was.
pub(super) async fn endpoint(
    s: &Session<'_>,
    run: &dyn StepContext,
    traffic: Option<&Traffic>,
) -> Result<Flow<Value>, StepError> {
    let body = |there: Option<&Value>| Some(bodies::endpoint(s.spec, &s.settings, there, traffic));
    let holds = |there: &Value| bodies::endpoint_holds(s.spec, &s.settings, there, traffic);
    bring(s, run, &Resource::endpoint(s), body, holds).await
}

/// Nobody gets a query any more. An endpoint that is not there, or goes while we look, is not made for that.
pub(super) async fn silence(s: &Session<'_>, run: &dyn StepContext) -> Result<Flow<Value>, StepError> {
    let none = Traffic::new();
    let body =
        |there: Option<&Value>| there.map(|there| bodies::endpoint(s.spec, &s.settings, Some(there), Some(&none)));
    bring(s, run, &Resource::endpoint(s), body, |there| bodies::traffic(there).is_empty()).await
}

/// A version runs. One of this name has this content: it is never changed.
async fn deployment(s: &Session<'_>, run: &dyn StepContext, one: &Planned<'_>) -> Result<Flow<Value>, StepError> {
    bring(s, run, &Resource::deployment(s, &one.name), |_| Some(one.body.clone()), |_| true).await
}
