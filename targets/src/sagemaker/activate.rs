//! Steps `activate` and `enforce_run_as`: the endpoint serves the configuration, and nothing of an earlier name goes on serving.

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    api::State,
    goal::deployment_config,
    moving::{Move, Moved, unknown},
    notes::{self, Intent, Prior, Pushed},
    off,
    reading::shares,
    session::Session,
};
use crate::codes;

pub(super) async fn activate(session: &Session<'_>) -> StepResult {
    let result = attempt(session).await;
    let open = notes::read::<Intent>(session.run(), notes::MOVE).is_some_and(|intent| intent.is_open());
    // Whatever stopped this attempt: nobody knows yet what the endpoint will serve.
    result.map_err(|error| if open { unknown(error) } else { error })
}

async fn attempt(session: &Session<'_>) -> StepResult {
    let Some(pushed) = notes::read::<Pushed>(session.run(), notes::PUSHED) else {
        let message = "The update does not remember what it pushed. Start it anew.";
        return Err(Failure::new(codes::NODE_EFFECT_MISSING, message).permanent());
    };
    note_prior(session).await?;
    let rollout = Some(deployment_config(&session.settings.rollout));
    let to = Move { config: &pushed.config, note: notes::MOVE, rollout };
    match session.bring(&to).await? {
        Moved::Done => Ok(StepOutcome::output(json!({"endpoint": session.names.endpoint}))),
        Moved::Wait(check_in) => Ok(StepOutcome::NotYet { check_in }),
    }
}

/// Notes what served before, once, when the endpoint is at rest.
pub(super) async fn note_prior(session: &Session<'_>) -> Result<(), StepError> {
    if session.run().note(notes::PRIOR).is_some() {
        return Ok(());
    }
    let found = session.endpoint().await?.filter(|found| !matches!(found.state(), State::Failed | State::Deleting));
    // Where it goes while it changes is not what it serves.
    let config = found.and_then(|found| if found.status == "Creating" { None } else { found.config });
    let others = if config.is_none() { Some(off::former_endpoints(session).await?) } else { None };
    let versions = match &config {
        Some(config) => shares(session, config).await?,
        None => Vec::new(),
    };
    notes::write(session.run(), notes::PRIOR, &Prior { config, versions, others }).await
}

/// Who may query is IAM's to say. What belongs here is that no endpoint of an earlier name goes on answering, and costing.
pub(super) async fn enforce(session: &Session<'_>) -> StepResult {
    let mut deleted = Vec::new();
    for name in off::former_endpoints(session).await? {
        match off::delete_endpoint(session, &name).await? {
            None => deleted.push(name),
            Some(check_in) => return Ok(StepOutcome::NotYet { check_in }),
        }
    }
    // Tags are sent with CreateEndpoint alone.
    if let Some(endpoint) = session.endpoint().await? {
        let wanted = session.endpoint_tags();
        let there = session.account.tags(&endpoint.arn).await?;
        let is_missing = |tag: &&Value| {
            tag["Key"].as_str().and_then(|key| there.get(key)).is_none_or(|value| tag["Value"] != value.as_str())
        };
        if session.names.own(&there) && wanted.as_array().into_iter().flatten().any(|tag| is_missing(&tag)) {
            session.log(format!("Tagging the endpoint {}.", session.names.endpoint)).await;
            session.account.add_tags(&endpoint.arn, &wanted).await?;
        }
    }
    Ok(StepOutcome::output(json!({"formerEndpointsDeleted": deleted})))
}
