//! Step `activate`: the endpoint is there, each version runs beside what is live, then the traffic moves. Step `enforce_run_as`: the endpoint is as the settings say.

use async_trait::async_trait;
use engine::{
    failure::{StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    bodies::{self, ENDPOINT_MASK, Traffic, replicas},
    change::{Change, bring},
    session::{Planned, Session, deployed_models, find},
};
use crate::{
    http::{CallError, Method},
    managed::{Flow, flowing, notes, ready},
};

/// The note of what was live before this run changed anything.
pub(super) const PRIOR: &str = "prior";

/// What was live. Written once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    /// Whether the endpoint was there.
    pub(super) exists: bool,
    /// Its traffic.
    pub(super) traffic: Traffic,
    /// What ran there, with traffic or without, by ids.
    #[serde(default)]
    pub(super) deployed: Vec<String>,
}

pub(super) async fn activate(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    note_prior(s, run).await?;
    let plan = s.plan(run)?;
    // What the settings say of one that was there, `enforce` sees to, once the new versions answer.
    ready!(bring(s, run, &Create).await?);
    for one in &plan {
        ready!(bring(s, run, &Deploy { one }).await?);
        ready!(bring(s, run, &Scale { one }).await?);
    }
    ready!(bring(s, run, &Split { traffic: &traffic(&plan) }).await?);
    Ok(StepOutcome::done())
}

pub(super) async fn enforce(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    let traffic = traffic(&s.plan(run)?);
    ready!(endpoint(s, run).await?);
    ready!(bring(s, run, &Split { traffic: &traffic }).await?);
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
            let ids = deployed_models(&endpoint).iter().filter_map(|one| one["id"].as_str().map(str::to_owned));
            Prior { exists: true, traffic: bodies::traffic(&endpoint), deployed: ids.collect() }
        }
    };
    notes::write(run, PRIOR, &prior).await
}

/// What each deployed model is to get.
pub(super) fn traffic(plan: &[Planned<'_>]) -> Traffic {
    let mut traffic = Traffic::new();
    for one in plan {
        *traffic.entry(one.deployed_id.clone()).or_default() += one.percent;
    }
    traffic
}

/// The endpoint is there, and as the settings say.
async fn endpoint(s: &Session<'_>, run: &dyn StepContext) -> Result<Flow<Value>, StepError> {
    flowing!(bring(s, run, &Create).await?);
    bring(s, run, &Adapt).await
}

struct Create;

#[async_trait]
impl Change for Create {
    fn note(&self) -> String {
        "endpoint".to_owned()
    }

    fn doing(&self) -> String {
        "making the endpoint".to_owned()
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        Ok(s.endpoint().await?)
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&["endpoints", &s.endpoint])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        let body = bodies::endpoint(s.spec, &s.settings, None);
        let query = [("endpointId", s.endpoint.as_str())];
        s.google.call(Method::POST, &s.path(&["endpoints"]), &query, body, &self.doing()).await.map(Some)
    }
}

/// What the settings say of the endpoint.
struct Adapt;

#[async_trait]
impl Change for Adapt {
    fn note(&self) -> String {
        "endpoint.settings".to_owned()
    }

    fn doing(&self) -> String {
        "changing the endpoint".to_owned()
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        Ok(s.endpoint().await?.filter(|there| bodies::endpoint_holds(s.spec, &s.settings, there)))
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&["endpoints", &s.endpoint])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        let there = s.endpoint().await?;
        let body = bodies::endpoint(s.spec, &s.settings, there.as_ref());
        patch(s, ENDPOINT_MASK, body, &self.doing()).await.map(Some)
    }
}

/// A version gets its machines. One of this id has this content; how many machines somebody gave it instead, [`Scale`] puts right.
pub(super) struct Deploy<'a> {
    pub(super) one: &'a Planned<'a>,
}

#[async_trait]
impl Change for Deploy<'_> {
    fn note(&self) -> String {
        format!("deployed.{}", self.one.deployed_id)
    }

    fn doing(&self) -> String {
        format!("deploying version {}", self.one.version.version)
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        let endpoint = s.endpoint().await?.unwrap_or_default();
        match find(&endpoint, &self.one.deployed_id) {
            Some(there) if !s.is_our_deployed(there) => {
                Err(s.taken("deployed model", &self.one.deployed_id).permanent())
            }
            found => Ok(found.cloned()),
        }
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&["endpoints", &s.endpoint])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        let action = format!("{}:deployModel", s.endpoint);
        // Without a split: it gets no traffic yet.
        let body = json!({"deployedModel": self.one.deployed});
        s.google.call(Method::POST, &s.path(&["endpoints", &action]), &[], body, &self.doing()).await.map(Some)
    }
}

/// A version has as many machines as the settings say, also where somebody changed that.
struct Scale<'a> {
    one: &'a Planned<'a>,
}

#[async_trait]
impl Change for Scale<'_> {
    fn note(&self) -> String {
        format!("scaled.{}", self.one.deployed_id)
    }

    fn doing(&self) -> String {
        format!("scaling version {}", self.one.version.version)
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        let endpoint = s.endpoint().await?.unwrap_or_default();
        let there = find(&endpoint, &self.one.deployed_id);
        Ok(there.filter(|there| replicas(there) == replicas(&self.one.deployed)).cloned())
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&["endpoints", &s.endpoint])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        let action = format!("{}:mutateDeployedModel", s.endpoint);
        let mask = "dedicatedResources.minReplicaCount,dedicatedResources.maxReplicaCount";
        let body = json!({"deployedModel": self.one.deployed, "updateMask": mask});
        s.google.call(Method::POST, &s.path(&["endpoints", &action]), &[], body, &self.doing()).await.map(Some)
    }
}

/// Who gets the queries. An empty one: nobody.
pub(super) struct Split<'a> {
    pub(super) traffic: &'a Traffic,
}

#[async_trait]
impl Change for Split<'_> {
    fn note(&self) -> String {
        "split".to_owned()
    }

    fn purpose(&self) -> String {
        json!(self.traffic).to_string()
    }

    fn doing(&self) -> String {
        "moving the traffic".to_owned()
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        Ok(s.endpoint().await?.filter(|there| bodies::traffic(there) == *self.traffic))
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&["endpoints", &s.endpoint])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        patch(s, "trafficSplit", json!({"trafficSplit": self.traffic}), &self.doing()).await.map(Some)
    }
}

async fn patch(s: &Session<'_>, mask: &str, body: Value, doing: &str) -> Result<Value, CallError> {
    let query = [("updateMask", mask)];
    s.google.call(Method::PATCH, &s.path(&["endpoints", &s.endpoint]), &query, body, doing).await
}
