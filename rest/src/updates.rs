//! The history of a deployment's updates.

use std::collections::HashMap;

use deployer::{
    error::{Error, Result},
    updates::{self, Brief, Filter, LogLine, Update},
};
use engine::{ids::RunId, journal::Status};
use serde_json::{Value, json};

use crate::{
    Context,
    deployments::{all, get},
    documents::millis,
    projects::AT_ONCE,
};

/// So much of a log is answered, in bytes.
const MOST_LOG: usize = 8 << 20;
/// So many lines are read at once.
const WINDOW: u64 = 1_000;

/// A status in the client's words: whoever waits must learn of an end, and a stuck update goes on only when a human decides.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "SUCCESS",
        Status::Warning => "WARNING",
        Status::Failed | Status::Cancelled | Status::Stuck => "ERROR",
        Status::Queued | Status::Running | Status::Waiting => "RUNNING",
    }
}

/// Whether whoever waits has waited long enough.
pub(crate) fn is_over(status: Status) -> bool {
    !matches!(status, Status::Queued | Status::Running | Status::Waiting)
}

pub(crate) async fn list(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    list_of(context, id).await
}

/// The same of a deployment of either half, which the viewer may see.
pub(crate) async fn list_of(context: &Context<'_>, id: &str) -> Result<Value> {
    let filter = Filter { deployment: Some(id.to_owned()), ..Filter::default() };
    let found = all(|page| {
        let filter = &filter;
        async move { updates::briefs(context.deployer, context.viewer, filter, &page).await }
    })
    .await?;
    // No journal is read: what each was for stands in its first entry.
    let ids: Vec<RunId> = found.iter().map(|update| update.id).collect();
    let mut frozen = HashMap::with_capacity(ids.len());
    for some in ids.chunks(AT_ONCE) {
        frozen.extend(updates::frozen(context.deployer, context.viewer, some).await?);
    }
    let item = |update: &Brief| {
        // One that was deleted meanwhile is left out.
        let kind = frozen.get(&update.id)?.kind.as_str();
        Some(json!({"startTimestamp": millis(update.requested_at), "type": kind, "status": word(update.status)}))
    };
    Ok(found.iter().filter_map(item).collect())
}

pub(crate) async fn at(context: &Context<'_>, id: &str, at: &str) -> Result<Value> {
    get(context, id).await?;
    at_of(context, id, at).await
}

/// The same of a deployment of either half.
pub(crate) async fn at_of(context: &Context<'_>, id: &str, at: &str) -> Result<Value> {
    let unknown = || Error::not_found("startTimestamp");
    let millis: i64 = at.parse().map_err(|_| unknown())?;
    let update = updates::at(context.deployer, context.viewer, id, millis).await?.ok_or_else(unknown)?;
    full(context, &update).await
}

pub(crate) async fn last(context: &Context<'_>, id: &str) -> Result<Value> {
    get(context, id).await?;
    last_of(context, id).await
}

/// The same of a deployment of either half.
pub(crate) async fn last_of(context: &Context<'_>, id: &str) -> Result<Value> {
    let latest = updates::latest_of(context.deployer, context.viewer, &[id.to_owned()]).await?.remove(id);
    let update = latest.ok_or_else(|| {
        Error::field("NOT_FOUND", "startTimestamp", "This deployment has no update yet. Start one first.")
    })?;
    full(context, &update).await
}

async fn full(context: &Context<'_>, update: &Update) -> Result<Value> {
    Ok(json!({
        "startTimestamp": millis(update.requested_at),
        "endTimestamp": update.ended_at.map(millis),
        "type": update.kind.as_str(),
        "requester": update.requester,
        "status": word(update.status),
        "bundleId": update.bundle_id,
        "logs": {"lines": lines(context, update).await?},
    }))
}

/// What was logged, then why it ended as it did.
async fn lines(context: &Context<'_>, update: &Update) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let (mut after, mut size) = (0, 0);
    'log: while let Some(window) = updates::log(context.deployer, context.viewer, update.id, after, WINDOW)
        .await?
        .filter(|lines| !lines.is_empty())
    {
        for LogLine { seq, step, line, .. } in window {
            after = seq;
            size += line.len();
            if size > MOST_LOG {
                lines.push("(the log goes on: read the rest over GraphQL)".to_owned());
                break 'log;
            }
            let name = step.and_then(|index| update.steps.get(index)).map(|step| step.name.as_str());
            lines.push(name.map_or_else(|| line.clone(), |name| format!("[{name}] {line}")));
        }
    }
    lines.extend(update.warnings.iter().map(|warning| format!("WARNING: {warning}")));
    if let Some(failure) = &update.failure {
        lines.push(format!("ERROR {}: {}", failure.code, failure.message));
    }
    Ok(lines)
}
