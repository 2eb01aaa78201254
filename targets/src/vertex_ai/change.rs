//! A call that changes something: looked for, noted, made, followed.
//!
//! What it makes has an id of ours, so the platform itself refuses to make it twice. A call whose answer was lost may still be at work: what goes on at its resource is
//! asked for before it is made again.

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError},
    ids::RunId,
    step::{Audience, StepContext},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::session::Session;
use crate::{
    codes,
    gcp::api::{self, Progress},
    http::{CallError, Said},
    managed::{Flow, check_in, flowing, notes, patience},
};

const REASON_CHARS: usize = 2_000;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    /// By which run: what became of another one's is for that to tell.
    run: RunId,
    /// For what.
    purpose: String,
    /// Whether the platform's answer was heard.
    heard: bool,
    /// Where its end is asked about; None where it ended at once.
    operation: Option<String>,
}

/// One change.
#[async_trait]
pub(super) trait Change: Sync {
    /// Unique among the changes of a run.
    fn note(&self) -> String;

    /// Another purpose is another call.
    fn purpose(&self) -> String {
        String::new()
    }

    /// For texts: "deploying version v2".
    fn doing(&self) -> String;

    /// What is there, if it is as this change would make it.
    async fn seen(&self, s: &Session<'_>) -> Result<Option<Value>, StepError>;

    /// Where what goes on with it is listed.
    fn resource<'p>(&'p self, s: &'p Session<'_>) -> Vec<&'p str>;

    /// The call. None: there is nothing that it could be made on, and all is well.
    async fn call(&self, s: &Session<'_>) -> Result<Option<Value>, CallError>;
}

/// Brings a change about.
pub(super) async fn bring(
    s: &Session<'_>,
    run: &dyn StepContext,
    change: &dyn Change,
) -> Result<Flow<Value>, StepError> {
    let note = change.note();
    let ours = |asked: &Asked| asked.run == run.run() && asked.purpose == change.purpose();
    let noted = notes::read::<Asked>(run, &note).filter(ours);
    if let Some(seen) = flowing!(look(s, change, noted.as_ref()).await?) {
        return Ok(Flow::Ready(seen));
    }
    match &noted {
        Some(noted) if noted.heard => {
            let message = format!(
                "Vertex AI said yes to {}, and does not show it. Look at it there, then update again.",
                change.doing()
            );
            return Err(Failure::new(codes::NODE_EFFECT_MISSING, message).retryable(None));
        }
        noted if goes_on(s, change).await? => {
            // Perhaps for us, and the answer was lost.
            if noted.is_some() {
                patience::begun(run).await?;
            }
            return Ok(Flow::Wait(check_in(None)));
        }
        _ => {}
    }
    run.log(Audience::Everyone, format!("Now {}.", change.doing())).await;
    let mut asked = Asked { run: run.run(), purpose: change.purpose(), heard: false, operation: None };
    notes::write(run, &note, &asked).await?;
    let Some(answer) = s.changing.by(change.call(s)).await? else { return Ok(Flow::Ready(Value::Null)) };
    (asked.heard, asked.operation) = (true, api::operation(&answer));
    notes::write(run, &note, &asked).await?;
    patience::begun(run).await?;
    if asked.operation.is_some() {
        match api::read(&answer) {
            Progress::Running => return Ok(Flow::Wait(check_in(None))),
            Progress::Failed(said) => return Err(failed(s, change, &said)),
            Progress::Done | Progress::Forgotten => {}
        }
    }
    match change.seen(s).await? {
        Some(seen) => Ok(Flow::Ready(seen)),
        None => Ok(Flow::Wait(check_in(None))),
    }
}

/// What there is of a change, once what this run asked for it is over.
async fn look(s: &Session<'_>, change: &dyn Change, noted: Option<&Asked>) -> Result<Flow<Option<Value>>, StepError> {
    if let Some(name) = noted.and_then(|noted| noted.operation.as_deref()) {
        match s.google.progress(name).await? {
            Progress::Running => return Ok(Flow::Wait(check_in(None))),
            Progress::Failed(said) => return Err(failed(s, change, &said)),
            Progress::Done | Progress::Forgotten => {}
        }
    }
    Ok(Flow::Ready(change.seen(s).await?))
}

/// Waits for the end of a change that this run asked for, however it ends.
pub(super) async fn ended(s: &Session<'_>, run: &dyn StepContext, change: &dyn Change) -> Result<Flow, StepError> {
    let noted = notes::read::<Asked>(run, &change.note()).filter(|asked| asked.run == run.run());
    let Some(noted) = noted else { return Ok(Flow::Ready(())) };
    let goes_on = match &noted.operation {
        Some(name) => s.google.progress(name).await? == Progress::Running,
        // Its answer was lost.
        None => !noted.heard && goes_on(s, change).await?,
    };
    Ok(if goes_on { Flow::Wait(check_in(None)) } else { Flow::Ready(()) })
}

/// Whether the platform is at work on the resource: for us, for an earlier run, or for somebody else.
async fn goes_on(s: &Session<'_>, change: &dyn Change) -> Result<bool, StepError> {
    let path = [change.resource(s), vec!["operations"]].concat();
    let all = s.google.list(&path, None, "operations", "asking what goes on").await?;
    Ok(all.iter().any(|one| api::read(one) == Progress::Running))
}

fn failed(s: &Session<'_>, change: &dyn Change, said: &Said) -> StepError {
    let (code, reason) = (s.google.clean(&said.code, 100), s.google.clean(&said.message, REASON_CHARS));
    let message = format!("Vertex AI failed at {}. It said: {reason} ({code})", change.doing());
    Failure::new(codes::PLATFORM_FAILED, message).permanent()
}
