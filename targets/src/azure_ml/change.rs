//! One resource, brought to a state or away: looked at, noted, asked for, followed.
//!
//! The platform's own record of each resource says what became of a call whose answer was lost: it is looked at before anything is asked for again. What it does not
//! say is why something failed: that stands at the operation, whose address is noted.

use std::time::Duration;

use engine::{
    failure::{Failure, StepError},
    ids::RunId,
    step::{Audience, StepContext},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{API_VERSION, session::Session};
use crate::{
    azure::arm::{Operation, Progress},
    codes,
    http::Said,
    managed::{Flow, check_in, flowing, names, notes, patience},
};

/// The tail of a log in a failure's sentence, in lines and characters.
const TAIL_LINES: usize = 5;
const TAIL_CHARS: usize = 1_500;
/// The tail in the update's log, in characters.
const LOG_CHARS: usize = 7_000;
const REASON_CHARS: usize = 1_000;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    /// By which run: a failure before it is none of its own.
    run: RunId,
    /// For what.
    purpose: String,
    /// What the platform said to it; None while nobody heard its answer.
    operation: Option<Operation>,
}

/// A resource to change.
pub(super) struct Resource<'a> {
    pub(super) path: Vec<&'a str>,
    /// For texts: "endpoint churn-0123".
    pub(super) what: String,
    /// Unique among the resources of a run.
    pub(super) note: String,
    /// Of a deployment, whose container has a log.
    pub(super) logs: Option<&'a str>,
}

impl<'a> Resource<'a> {
    pub(super) fn endpoint(s: &'a Session<'_>) -> Self {
        let what = format!("endpoint {}", s.endpoint);
        Self { path: s.endpoint_path(), what, note: "endpoint".to_owned(), logs: None }
    }

    /// The same for putting back: what became of another step's change is no reason not to.
    pub(super) fn endpoint_before(s: &'a Session<'_>) -> Self {
        Self { note: "endpoint.before".to_owned(), ..Self::endpoint(s) }
    }

    pub(super) fn deployment(s: &'a Session<'_>, name: &'a str) -> Self {
        let what = format!("deployment {name}");
        Self { path: s.deployment_path(name), what, note: format!("deployment.{name}"), logs: Some(name) }
    }

    pub(super) fn environment(s: &'a Session<'_>, version: &'a str) -> Self {
        let what = format!("environment {} version {version}", s.endpoint);
        Self { path: s.environment_path(version), what, note: format!("environment.{version}"), logs: None }
    }
}

/// Brings a resource to the state that `body` asks for, where `holds` says whether it is so. One that others made is refused; where there is none and `body` asks for
/// none, all is well.
pub(super) async fn bring(
    s: &Session<'_>,
    run: &dyn StepContext,
    resource: &Resource<'_>,
    body: impl FnOnce(Option<&Value>) -> Option<Value>,
    holds: impl Fn(&Value) -> bool,
) -> Result<Flow<Value>, StepError> {
    let noted = asked(run, &resource.note);
    let there = flowing!(look(s, run, resource, noted.as_ref()).await?);
    if let Some(there) = &there {
        if !s.is_ours(there) {
            return Err(s.taken(kind(&resource.what), resource.path.last().unwrap_or(&"")).permanent());
        }
        match state(there) {
            State::AtWork => {
                // Perhaps for us, and the answer was lost.
                if noted.is_some() {
                    patience::begun(run).await?;
                }
                return Ok(Flow::Wait(check_in(None)));
            }
            State::Failed if noted.is_some() => return Err(failed(s, run, resource, &Said::default()).await),
            State::Ready if holds(there) => return Ok(Flow::Ready(there.clone())),
            State::Ready | State::Failed => {}
        }
    }
    let Some(body) = body(there.as_ref()) else { return Ok(Flow::Ready(Value::Null)) };
    let purpose = names::hash([body.to_string()], 32);
    if noted.is_some_and(|noted| noted.purpose == purpose && noted.operation.is_some()) && there.is_some() {
        let message = format!(
            "Azure said yes to changing {}, and does not show it. Look at it there, then update again.",
            resource.what
        );
        return Err(Failure::new(codes::NODE_EFFECT_MISSING, message).retryable(None));
    }
    let mut asked = Asked { run: run.run(), purpose, operation: None };
    notes::write(run, &resource.note, &asked).await?;
    let verb = if there.is_some() { "changing" } else { "making" };
    run.log(Audience::Everyone, format!("Now {verb} {}.", resource.what)).await;
    let doing = format!("{verb} {}", resource.what);
    let operation = s.changing.by(s.arm.put(&resource.path, API_VERSION, body, &doing)).await?;
    let wait = operation.retry_after.map(Duration::from_secs);
    asked.operation = Some(operation);
    notes::write(run, &resource.note, &asked).await?;
    patience::begun(run).await?;
    // Some are there at once; those that are not say so.
    match s.arm.get(&resource.path, API_VERSION, &format!("reading {}", resource.what)).await? {
        Some(there) if state(&there) == State::Ready && holds(&there) => Ok(Flow::Ready(there)),
        _ => Ok(Flow::Wait(check_in(wait))),
    }
}

/// Takes a resource of ours away. One that is not there is away.
pub(super) async fn away(s: &Session<'_>, run: &dyn StepContext, resource: &Resource<'_>) -> Result<Flow, StepError> {
    const GONE: &str = "gone";
    let note = format!("{}.gone", resource.note);
    let noted = asked(run, &note).filter(|noted| noted.purpose == GONE);
    let doing = format!("deleting {}", resource.what);
    let deleting =
        Resource { note: note.clone(), what: resource.what.clone(), path: resource.path.clone(), logs: None };
    let Some(there) = flowing!(look(s, run, &deleting, noted.as_ref()).await?) else { return Ok(Flow::Ready(())) };
    if state(&there) == State::AtWork {
        return Ok(Flow::Wait(check_in(None)));
    }
    let mut asked = Asked { run: run.run(), purpose: GONE.to_owned(), operation: None };
    notes::write(run, &note, &asked).await?;
    run.log(Audience::Everyone, format!("Now {doing}.")).await;
    let Some(operation) = s.changing.by(s.arm.delete(&resource.path, API_VERSION, &doing)).await? else {
        return Ok(Flow::Ready(()));
    };
    let wait = operation.retry_after.map(Duration::from_secs);
    asked.operation = Some(operation);
    notes::write(run, &note, &asked).await?;
    patience::begun(run).await?;
    match s.arm.get(&resource.path, API_VERSION, &format!("reading {}", resource.what)).await? {
        None => Ok(Flow::Ready(())),
        Some(_) => Ok(Flow::Wait(check_in(wait))),
    }
}

/// What this run asked for; what an earlier one did is told by the resource itself.
fn asked(run: &dyn StepContext, note: &str) -> Option<Asked> {
    notes::read::<Asked>(run, note).filter(|asked| asked.run == run.run())
}

/// The resource as it is, once what this run asked for it is over.
async fn look(
    s: &Session<'_>,
    run: &dyn StepContext,
    resource: &Resource<'_>,
    noted: Option<&Asked>,
) -> Result<Flow<Option<Value>>, StepError> {
    Ok(match followed(s, run, resource, noted).await? {
        Some(wait) => Flow::Wait(wait),
        None => Flow::Ready(s.arm.get(&resource.path, API_VERSION, &format!("reading {}", resource.what)).await?),
    })
}

/// Follows the operation that was noted: a wait while it goes on, a failure where it failed.
async fn followed(
    s: &Session<'_>,
    run: &dyn StepContext,
    resource: &Resource<'_>,
    noted: Option<&Asked>,
) -> Result<Option<Duration>, StepError> {
    let Some(url) = noted.and_then(|noted| noted.operation.as_ref()?.url.as_deref()) else { return Ok(None) };
    match s.arm.progress(url).await? {
        Progress::Running(wait) => Ok(Some(check_in(wait))),
        Progress::Succeeded | Progress::Forgotten => Ok(None),
        Progress::Failed(said) => Err(failed(s, run, resource, &said).await),
    }
}

/// What became of it, in the platform's words, with the last the container said.
async fn failed(s: &Session<'_>, run: &dyn StepContext, resource: &Resource<'_>, said: &Said) -> StepError {
    let mut message = format!("Azure failed at {}.", resource.what);
    let (code, reason) = (s.arm.clean(&said.code, 100), s.arm.clean(&said.message, REASON_CHARS));
    if !reason.is_empty() || !code.is_empty() {
        message.push_str(&format!(" It said: {reason} ({code})"));
    }
    if let Some(deployment) = resource.logs
        && let Some(log) = s.logs(deployment).await
    {
        let lines: Vec<String> =
            log.lines().map(|line| s.arm.clean(line, 500)).filter(|line| !line.is_empty()).collect();
        run.log(Audience::Everyone, tail(&lines, usize::MAX, LOG_CHARS)).await;
        message.push_str(&format!(" The container's last words:\n{}", tail(&lines, TAIL_LINES, TAIL_CHARS)));
    }
    Failure::new(codes::PLATFORM_FAILED, message).permanent()
}

/// The last lines, so many and so long at most.
fn tail(lines: &[String], most: usize, chars: usize) -> String {
    let mut room = chars;
    let fits = |line: &&String| {
        let fits = line.len() < room;
        room = room.saturating_sub(line.len() + 1);
        fits
    };
    let mut last: Vec<&str> = lines.iter().rev().take(most).take_while(fits).map(String::as_str).collect();
    last.reverse();
    last.join("\n")
}

fn kind(what: &str) -> &str {
    what.split(' ').next().unwrap_or(what)
}

/// How a resource is, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Something goes on with it.
    AtWork,
    /// As it was asked to be.
    Ready,
    /// Not so, and nothing goes on.
    Failed,
}

/// Reads a resource's state; one that says none is ready.
pub(super) fn state(resource: &Value) -> State {
    match resource["properties"]["provisioningState"].as_str().map(str::to_ascii_lowercase).as_deref() {
        None | Some("succeeded") => State::Ready,
        Some("failed" | "canceled") => State::Failed,
        Some(_) => State::AtWork,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states() {
        for (word, wanted) in [
            (json!(null), State::Ready),
            (json!("Succeeded"), State::Ready),
            (json!("Failed"), State::Failed),
            (json!("Canceled"), State::Failed),
            (json!("Updating"), State::AtWork),
            (json!("Something new"), State::AtWork),
        ] {
            assert_eq!(state(&json!({"properties": {"provisioningState": word}})), wanted);
        }
    }

    #[test]
    fn the_tail_is_the_last_that_fits() {
        let lines: Vec<String> = ["one", "two", "three"].map(str::to_owned).into();
        assert_eq!(tail(&lines, 2, 100), "two\nthree");
        assert_eq!(tail(&lines, 5, 7), "three");
    }
}
