//! Steps `switch_off` and `delete_project`: what becomes of a service on the node whose deployment is disabled or deleted.

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    activate::note_prior,
    deliver,
    flight::{self, Doing, check_in, effect_missing},
    foreign,
    session::Session,
};
use crate::{codes, http::Effect};

/// No query is answered any more. Generations stay, so that enabling is quick; which ones answered is noted.
pub(super) async fn switch_off(session: &Session<'_>) -> StepResult {
    let (api, id) = (session.api(), session.id());
    let Some(enabled) = api.service(id).await? else { return Ok(absent(session)) };
    note_prior(session).await?;
    if enabled {
        session.log(format!("Disabling the service {id}.")).await;
        if let Err(error) = api.disable(id).await {
            let done = error.effect != Effect::None && matches!(api.service(id).await, Ok(Some(false) | None));
            if !done {
                return Err(error.into());
            }
        }
        if api.service(id).await? == Some(true) {
            return Err(effect_missing("disabling the service").retryable(None));
        }
    }
    Ok(StepOutcome::output(json!({"serviceDisabled": id})))
}

fn absent(session: &Session<'_>) -> StepOutcome {
    let warning = format!("The service {} is not on the node: there was nothing to do.", session.id());
    StepOutcome::Done { output: json!({}), warnings: vec![warning] }
}

/// The service goes with all of its generations, and so do the packages that updates brought to the node's disk.
pub(super) async fn remove(session: &Session<'_>) -> StepResult {
    let (api, id) = (session.api(), session.id());
    // An import that nobody heard the end of could bring back a file's worth of the service.
    if let Some(rest) = flight::rest(session, Doing::Import("")).await? {
        return Ok(StepOutcome::NotYet { check_in: check_in(rest) });
    }
    let mut warnings = Vec::new();
    let generations = api.generations(id).await?;
    let deleted = match generations {
        None => false,
        Some(all)
            if !all.items.is_empty()
                && !foreign::is_trusted(&session.place)
                && !foreign::is_ours(&session.place, session.work.imports, &all).await? =>
        {
            let message = format!(
                "The service {id} on the node has generations that Slipway did not bring, and none that it did. Delete it there, if it is this deployment's."
            );
            return Err(Failure::new(codes::SERVICE_NAME_TAKEN, message).permanent());
        }
        Some(_) => {
            session.log(format!("Deleting the service {id} on the node.")).await;
            if let Err(error) = api.delete_service(id).await {
                let gone = error.effect != Effect::None && matches!(api.service(id).await, Ok(None));
                if !gone {
                    return Err(error.into());
                }
            }
            if api.service(id).await?.is_some() {
                return Err(effect_missing("deleting the service").retryable(None));
            }
            true
        }
    };
    warnings.extend(files(session).await?);
    Ok(StepOutcome::Done { output: if deleted { json!({"serviceDeleted": id}) } else { Value::Null }, warnings })
}

/// An infrastructure that does not say any more how packages got there can't be cleaned up; a way that fails is tried again.
async fn files(session: &Session<'_>) -> Result<Option<String>, StepError> {
    let way = match session.way().await {
        Ok(way) => way,
        Err(StepError::Permanent(failure)) => {
            return Ok(Some(format!("Packages on the node's disk were left there: {}", failure.message)));
        }
        Err(other) => return Err(other),
    };
    way.remove(&deliver::prefix(session.work.spec), &[]).await
}
