//! Steps `switch_off` and `delete_project`. Switched off, an endpoint is gone, as only machines cost; its configuration, models and images stay. Deleted, all of it goes.

use std::time::Duration;

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;

use super::{
    activate::note_prior,
    api::{Config, Endpoint, Model, State, Thing},
    names::ENDPOINT,
    session::Session,
};

/// An endpoint that goes is looked at again after this.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn switch_off(session: &Session<'_>) -> StepResult {
    note_prior(session).await?;
    let mut names = former_endpoints(session).await?;
    names.push(session.names.endpoint.clone());
    for name in &names {
        if let Some(check_in) = delete_endpoint(session, name).await? {
            return Ok(StepOutcome::NotYet { check_in });
        }
    }
    Ok(StepOutcome::output(json!({"endpointsDeleted": names})))
}

/// All that updates of this deployment made. What is not marked as its own stays, and so does the repository.
pub(super) async fn remove(session: &Session<'_>) -> StepResult {
    let mut endpoints = former_endpoints(session).await?;
    endpoints.push(session.names.endpoint.clone());
    for name in &endpoints {
        if let Some(check_in) = delete_endpoint(session, name).await? {
            return Ok(StepOutcome::NotYet { check_in });
        }
    }
    let account = &session.account;
    let (mut configs, mut models) = (Vec::new(), Vec::new());
    for name in account.named(Thing::Config, &session.names.short).await? {
        let Some(found) = account.described::<Config>(Thing::Config, &name).await? else { continue };
        if session.names.own(&account.tags(&found.arn).await?) {
            account.delete(Thing::Config, &name).await?;
            configs.push(name);
        }
    }
    for name in account.named(Thing::Model, &session.names.short).await? {
        let Some(found) = account.described::<Model>(Thing::Model, &name).await? else { continue };
        if session.names.own(&account.tags(&found.arn).await?) {
            account.delete(Thing::Model, &name).await?;
            models.push(name);
        }
    }
    let repository = session.settings.repository();
    let images = account.image_tags(repository, &session.names.image_prefix()).await?;
    account.delete_images(repository, &images).await?;
    Ok(StepOutcome::output(json!({"configurations": configs, "models": models, "images": images})))
}

/// The endpoints of ours that earlier updates made under other names: each configuration of ours says for which one it was made.
pub(super) async fn former_endpoints(session: &Session<'_>) -> Result<Vec<String>, StepError> {
    let account = &session.account;
    let mut names = Vec::new();
    for config in account.named(Thing::Config, &session.names.short).await? {
        let Some(found) = account.described::<Config>(Thing::Config, &config).await? else { continue };
        let tags = account.tags(&found.arn).await?;
        let Some(endpoint) = tags.get(ENDPOINT).filter(|_| session.names.own(&tags)) else { continue };
        if *endpoint == session.names.endpoint || names.contains(endpoint) {
            continue;
        }
        // Gone already, or somebody else's by now: nothing to delete.
        let there = account.described::<Endpoint>(Thing::Endpoint, endpoint).await?;
        if let Some(there) = there
            && session.names.own(&account.tags(&there.arn).await?)
        {
            names.push(endpoint.clone());
        }
    }
    Ok(names)
}

/// Deletes an endpoint of ours. When to look again; None when it is gone.
pub(super) async fn delete_endpoint(session: &Session<'_>, name: &str) -> Result<Option<Duration>, StepError> {
    let account = &session.account;
    let Some(found) = account.described::<Endpoint>(Thing::Endpoint, name).await? else { return Ok(None) };
    match found.state() {
        // SageMaker deletes nothing that is on its way.
        State::Changing | State::Deleting => return Ok(Some(LOOK)),
        State::Serving | State::Failed | State::Mixed => {}
    }
    session.own(&format!("an endpoint {name}"), &found.arn).await?;
    session.log(format!("Deleting the endpoint {name}.")).await;
    account.delete(Thing::Endpoint, name).await?;
    Ok(Some(LOOK))
}
