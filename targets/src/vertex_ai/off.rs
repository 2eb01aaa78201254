//! Step `switch_off`: nothing answers and nothing costs any more; the endpoint and the models stay. Step `delete_project`: all of it goes.

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde_json::{Value, json};

use super::{
    activate::{Split, note_prior},
    bodies::{self, Traffic},
    change::{Change, bring},
    push::{of_session, repository},
    session::{Session, deployed_models, find},
};
use crate::{
    codes,
    gcp::connection::Gcp,
    http::{CallError, Method},
    managed::{Flow, flowing, image, ready},
};

pub(super) async fn switch_off(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    note_prior(s, run).await?;
    ready!(stop(s, run).await?);
    Ok(StepOutcome::done())
}

pub(super) async fn remove(gcp: &Gcp, s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    note_prior(s, run).await?;
    if let Some(endpoint) = s.endpoint().await?
        && let Some(foreign) = deployed_models(&endpoint).iter().find(|one| !s.is_our_deployed(one))
    {
        let name = s.google.clean(foreign["displayName"].as_str().unwrap_or_default(), 100);
        let message =
            format!("Endpoint {} runs {name}, which Slipway did not deploy. Undeploy that one first.", s.endpoint);
        return Err(Failure::new(codes::PLATFORM_NAME_TAKEN, message).permanent());
    }
    ready!(stop(s, run).await?);
    ready!(bring(s, run, &Gone { kind: "endpoints", id: s.endpoint.clone() }).await?);
    let filter = format!("labels.{}={}", bodies::OWNER, bodies::owner(s.spec));
    let models = s.google.list(&s.path(&["models"]), Some(&filter), "models", "listing the models").await?;
    // The filter is the platform's to understand; what goes is ours by its own word.
    let ours = || models.iter().filter(|model| s.is_ours(model));
    let of = |model: &Value| model["containerSpec"]["imageUri"].as_str().map(str::to_owned);
    let images = image::to_go(run, ours().filter_map(of).collect()).await?;
    let mut waits = Vec::new();
    for id in ours().filter_map(|model| model["name"].as_str()?.rsplit('/').next()) {
        if let Flow::Wait(wait) = bring(s, run, &Gone { kind: "models", id: id.to_owned() }).await? {
            waits.push(wait);
        }
    }
    if let Some(check_in) = waits.into_iter().min() {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let (url, repository) = (s.connection.registry_url(), repository(s));
    match gcp.registry_login(&s.connection, s.opener).await {
        Ok(login) => {
            let place = of_session(gcp, s, login, (&url, &repository));
            s.changing.by(place.delete_all(run, &images)).await?;
        }
        Err(error) => image::kept(run, &repository, error).await?,
    }
    Ok(StepOutcome::done())
}

/// No traffic, then no machines.
async fn stop(s: &Session<'_>, run: &dyn StepContext) -> Result<Flow, StepError> {
    if s.endpoint().await?.is_none() {
        return Ok(Flow::Ready(()));
    }
    flowing!(bring(s, run, &Split { traffic: &Traffic::new() }).await?);
    clear(s, run, &[]).await
}

/// Undeploys what we deployed, what is not to stay, and what gets no traffic.
pub(super) async fn clear(s: &Session<'_>, run: &dyn StepContext, keep: &[&str]) -> Result<Flow, StepError> {
    let Some(endpoint) = s.endpoint().await? else { return Ok(Flow::Ready(())) };
    let live = bodies::traffic(&endpoint);
    for there in deployed_models(&endpoint).iter().filter(|there| s.is_our_deployed(there)) {
        let Some(id) = there["id"].as_str().filter(|id| !keep.contains(id) && !live.contains_key(*id)) else {
            continue;
        };
        flowing!(bring(s, run, &Undeploy { id }).await?);
    }
    Ok(Flow::Ready(()))
}

struct Undeploy<'a> {
    id: &'a str,
}

#[async_trait]
impl Change for Undeploy<'_> {
    fn note(&self) -> String {
        format!("undeployed.{}", self.id)
    }

    fn doing(&self) -> String {
        format!("undeploying {}", self.id)
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        let endpoint = s.endpoint().await?.unwrap_or_default();
        Ok(find(&endpoint, self.id).is_none().then_some(Value::Null))
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&["endpoints", &s.endpoint])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        let action = format!("{}:undeployModel", s.endpoint);
        let body = json!({"deployedModelId": self.id});
        let called = s.google.call(Method::POST, &s.path(&["endpoints", &action]), &[], body, &self.doing()).await;
        gone(called)
    }
}

/// A resource of ours goes.
struct Gone {
    kind: &'static str,
    id: String,
}

#[async_trait]
impl Change for Gone {
    fn note(&self) -> String {
        format!("gone.{}", self.id)
    }

    fn doing(&self) -> String {
        format!("deleting {}/{}", self.kind, self.id)
    }

    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError> {
        let found = s.google.get(&s.path(&[self.kind, &self.id]), "reading what is to go").await?;
        Ok(found.is_none().then_some(Value::Null))
    }

    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str> {
        s.path(&[self.kind, &self.id])
    }

    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError> {
        let called =
            s.google.call(Method::DELETE, &s.path(&[self.kind, &self.id]), &[], Value::Null, &self.doing()).await;
        gone(called)
    }
}

/// What is not there is gone: an earlier call's work may have ended between our look and this call.
fn gone(called: Result<Value, CallError>) -> Result<Option<Value>, CallError> {
    match called {
        Err(error) if error.is(&codes::NODE_NOT_FOUND) => Ok(None),
        called => called.map(Some),
    }
}
