//! Steps `switch_off` and `delete_project`. Switched off, an endpoint is gone, as only machines cost; its configuration, models and images stay. Deleted, all of it goes.

use std::{collections::BTreeSet, time::Duration};

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;

use super::{
    activate::note_prior,
    api::{Config, Endpoint, Model, State, Thing},
    names::ENDPOINT,
    notes,
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
    // Images lie where the settings say now, and where they said when a model was made.
    let mut repositories = BTreeSet::from([session.settings.repository().to_owned()]);
    let noted: Option<BTreeSet<String>> = notes::read(session.run(), notes::REPOSITORIES);
    repositories.extend(noted.unwrap_or_default());
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
            let image = found.primary_container.and_then(|container| container.image).unwrap_or_default();
            let of = image.split('@').next().and_then(|image| Some(image.split_once('/')?.1.to_owned()));
            if of.is_some_and(|of| repositories.insert(of)) {
                notes::write(session.run(), notes::REPOSITORIES, &repositories).await?;
            }
            account.delete(Thing::Model, &name).await?;
            models.push(name);
        }
    }
    let mut images = Vec::new();
    for repository in &repositories {
        if account.repository(repository).await?.is_none() {
            continue;
        }
        let tags = account.image_tags(repository, &session.names.image_prefix()).await?;
        account.delete_images(repository, &tags).await?;
        images.extend(tags);
    }
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

/// Deletes an endpoint, if it is ours. When to look again; None when there is none of ours any more.
pub(super) async fn delete_endpoint(session: &Session<'_>, name: &str) -> Result<Option<Duration>, StepError> {
    let account = &session.account;
    let Some(found) = account.described::<Endpoint>(Thing::Endpoint, name).await? else { return Ok(None) };
    // Whatever is wanted of ours, there is nothing of ours here.
    if !session.names.own(&account.tags(&found.arn).await?) {
        session.log(format!("The endpoint {name} is not this deployment's, and is left alone.")).await;
        return Ok(None);
    }
    match found.state() {
        // SageMaker deletes nothing that is on its way.
        State::Changing | State::Deleting => return Ok(Some(LOOK)),
        State::Serving | State::Failed | State::Mixed => {}
    }
    session.log(format!("Deleting the endpoint {name}.")).await;
    account.delete(Thing::Endpoint, name).await?;
    Ok(Some(LOOK))
}
