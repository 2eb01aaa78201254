//! Futures: an update as a job that a client waits for. A job's id is its update's.

use deployer::{
    error::{Error, Result},
    updates::{self, Filter, Update, UpdateType},
};
use engine::{ids::RunId, journal::Status};
use serde_json::{Value, json};
use targets::target::Half;

use crate::{
    Context,
    call::Call,
    deployments::all,
    documents::millis,
    messages::{Message, Severity, report},
    read::renamed,
    updates::{is_over, word},
};

/// Starts an update. The answer never has a result: a client that found one would not ask for it again.
pub(crate) async fn start(context: &Context<'_>, id: &str) -> Result<Value> {
    let accepted = updates::start(context.deployer, context.viewer, id, None).await?;
    Ok(state_of(&accepted.update, false))
}

fn lost() -> Error {
    Error::not_found("jobId")
}

/// A job's id, in its one spelling.
fn job(id: &str) -> Result<RunId> {
    id.parse().ok().filter(|parsed: &RunId| parsed.to_string() == id).ok_or_else(lost)
}

async fn get(context: &Context<'_>, id: &str) -> Result<Update> {
    let id = job(id)?;
    updates::get(context.deployer, context.viewer, id).await?.ok_or_else(lost)
}

pub(crate) async fn state(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let peek = call.flag("peek")?.unwrap_or(false);
    let update = get(context, id).await?;
    let mut state = state_of(&update, is_over(update.status));
    if is_over(update.status) && !peek {
        state["result"] = result(&update);
    }
    Ok(state)
}

/// Aborting what has ended is no error: whoever aborts wants it ended.
pub(crate) async fn abort(context: &Context<'_>, id: &str) -> Result<Value> {
    let id = job(id)?;
    match updates::cancel(context.deployer, context.viewer, id).await {
        Ok(_) => {}
        Err(Error::Refused(refusals)) if refusals.iter().all(|refusal| refusal.code == "UPDATE_ENDED") => {}
        Err(error) => return Err(renamed(error, &[("id", "jobId")])),
    }
    Ok(json!({}))
}

/// What runs now. Scenarios run on nodes, not here.
pub(crate) async fn list(context: &Context<'_>, call: &Call) -> Result<Value> {
    let others = call.flag("withNotScenarios")?.unwrap_or(true);
    let everybody = call.flag("allUsers")?.unwrap_or(false);
    call.flag("withScenarios")?;
    if !others {
        return Ok(json!([]));
    }
    let filter = Filter {
        status: Some(vec![Status::Queued, Status::Running, Status::Waiting]),
        requester: (!everybody).then(|| context.viewer.login.clone()),
        ..Filter::default()
    };
    let found = all(|page| {
        let filter = &filter;
        async move { updates::list(context.deployer, context.viewer, filter, &page).await }
    })
    .await?;
    Ok(found.iter().map(|update| state_of(update, false)).collect())
}

fn state_of(update: &Update, has_result: bool) -> Value {
    json!({
        "jobId": update.id.to_string(),
        "hasResult": has_result,
        "alive": !is_over(update.status),
        "aborted": update.status == Status::Cancelled,
        "unknown": false,
        "owner": update.requester,
        "startTime": millis(update.requested_at),
        "runningTime": update.ended_at.map(|at| millis(at.saturating_sub(update.requested_at))),
        "jobDisplayName": format!("Update of deployment {}", update.deployment_id),
        "payload": {
            "displayName": format!("Update of deployment {}", update.deployment_id),
            "type": update.kind.as_str(),
            "extras": {"deploymentId": update.deployment_id, "startTimestamp": millis(update.requested_at)},
        },
    })
}

fn live(update: &Update) -> String {
    match (update.kind, update.half) {
        (UpdateType::Disable, _) => {
            return format!("What deployment {} deployed is switched off.", update.deployment_id);
        }
        (UpdateType::Delete, _) => return format!("What deployment {} deployed is gone.", update.deployment_id),
        _ => {}
    }
    match update.half {
        Half::Project => format!("Bundle {} is active in project {}.", update.bundle_id, update.deployed_project_key),
        Half::Api => format!("Version {} of service {} is live.", update.bundle_id, update.deployed_project_key),
    }
}

/// What an update came to, as a report.
fn result(update: &Update) -> Value {
    let mut messages = Vec::new();
    if let Some(failure) = &update.failure {
        messages.push(Message {
            severity: Severity::Error,
            code: failure.code.clone(),
            title: format!("The update of deployment {} failed", update.deployment_id),
            message: failure.message.clone(),
            details: failure.detail.clone(),
        });
    } else if is_over(update.status) && word(update.status) == "ERROR" {
        let by = update.cancel_requested_by.as_deref().unwrap_or("somebody");
        messages.push(Message {
            severity: Severity::Error,
            code: update.status.as_str().to_owned(),
            title: format!("The update of deployment {} was cancelled", update.deployment_id),
            message: format!("The update was cancelled by {by}."),
            details: None,
        });
    }
    messages.extend(update.warnings.iter().map(|warning| Message {
        severity: Severity::Warning,
        code: "WARNING".to_owned(),
        title: "Warning".to_owned(),
        message: warning.clone(),
        details: None,
    }));
    if word(update.status) != "ERROR" {
        messages.push(Message {
            severity: Severity::Success,
            code: "UPDATED".to_owned(),
            title: format!("Deployment {} was updated", update.deployment_id),
            message: live(update),
            details: None,
        });
    }
    let texts: Vec<&str> = messages.iter().map(|message| message.message.as_str()).collect();
    let deployment_report = json!({"status": word(update.status), "messages": texts});
    let mut result = report(&messages);
    let more = json!({
        "status": word(update.status),
        "deploymentReport": deployment_report,
        "deploymentId": update.deployment_id,
        "bundleId": update.bundle_id,
        "requester": update.requester,
        "startTimestamp": millis(update.requested_at),
        "endTimestamp": update.ended_at.map(millis),
    });
    if let (Value::Object(result), Value::Object(more)) = (&mut result, more) {
        result.extend(more);
    }
    result
}
