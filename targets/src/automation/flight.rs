//! Calls that take effect on the node and whose answer can be lost: noted before, looked for after.
//!
//! A call may go on at the node after its connection is gone. It is repeated only when the node does not show its effect *and* either its end is known or the
//! node has had the time to settle since we lost sight of it.

use std::time::Duration;

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError},
    step::{Audience, StepContext},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::notes;
use crate::{
    codes,
    http::{CallError, Effect},
    report::Report,
};

/// Looks while a call may still be in flight are at least and at most so far apart.
const LOOK_SOONEST: Duration = Duration::from_millis(500);
const LOOK_LATEST: Duration = Duration::from_secs(15);

/// One call that takes effect on the node.
#[async_trait]
pub(super) trait EffectCall: Sync {
    /// The note of its intent.
    fn note(&self) -> &'static str;

    /// What it is for: an intent with another purpose is another call's.
    fn purpose(&self) -> Value;

    /// What the node shows of its effect.
    async fn look(&self) -> Result<Value, StepError>;

    /// Whether a node that showed `before` when the call was noted, and shows `now`, has done it.
    fn done_since(&self, before: &Value, now: &Value) -> bool;

    /// Whether `now` is as it must be after the call.
    fn holds(&self, now: &Value) -> bool;

    /// What must be durable before the call.
    async fn prepare(&self) -> Result<(), StepError> {
        Ok(())
    }

    /// The call.
    async fn call(&self) -> Result<Report, CallError>;

    /// A phrase for texts: "activating bundle v2".
    fn doing(&self) -> String;

    /// Whether a human must look when nobody can tell if it took effect.
    fn unsettling(&self) -> bool {
        false
    }
}

/// What came of [`perform`].
#[derive(Debug)]
pub(super) enum Flown {
    /// The effect is there; with the node's warnings.
    Done(Vec<String>),
    /// Look again after this.
    Wait(Duration),
}

/// An intent, durable before its call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Intent {
    purpose: Value,
    /// What the node showed before.
    before: Value,
    /// When it was noted, by the database's clock.
    at: i64,
    /// Since when nobody hears the call any more.
    #[serde(default)]
    lost_at: Option<i64>,
    #[serde(default)]
    end: Option<End>,
    #[serde(default)]
    warnings: Vec<String>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum End {
    /// With its effect.
    Done,
    /// The node did not take it.
    NotTaken,
    /// The node is done with it, and said that it did not work.
    Failed,
}

impl Intent {
    /// The node shows the effect of this call, if it is `call`.
    pub(super) async fn is_seen(&self, call: &dyn EffectCall) -> Result<bool, StepError> {
        Ok(self.purpose == call.purpose() && call.done_since(&self.before, &call.look().await?))
    }

    /// Nobody knows how the call ended.
    pub(super) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// The call ended with its effect.
    pub(super) fn is_done(&self) -> bool {
        self.end == Some(End::Done)
    }

    /// The call may have changed the node.
    pub(super) fn may_have_acted(&self) -> bool {
        self.end != Some(End::NotTaken)
    }
}

/// The notes of one kind of call.
pub(super) struct Flight<'a> {
    pub(super) run: &'a dyn StepContext,
    pub(super) note: &'static str,
    pub(super) settle: Duration,
}

impl Flight<'_> {
    pub(super) fn intent(&self) -> Option<Intent> {
        notes::read(self.run, self.note)
    }

    /// How long until a call whose end is unknown may be taken for over; None when it is.
    pub(super) async fn rest(&self, intent: &mut Intent) -> Result<Option<Duration>, StepError> {
        if intent.end.is_some() {
            return Ok(None);
        }
        let now = self.run.now().await?;
        let lost = match intent.lost_at {
            Some(lost) => lost,
            // Whoever made the call is gone. It was heard until some time before now.
            None => {
                intent.lost_at = Some(now);
                notes::write(self.run, self.note, intent).await?;
                now
            }
        };
        Ok(remaining(lost, self.settle, now))
    }

    async fn end(&self, mut intent: Intent, end: End, warnings: Vec<String>) -> Result<Vec<String>, StepError> {
        intent.end = Some(end);
        intent.warnings = warnings;
        notes::write(self.run, self.note, &intent).await?;
        Ok(intent.warnings)
    }

    async fn lost(&self, mut intent: Intent) -> Result<(), StepError> {
        intent.lost_at = Some(self.run.now().await?);
        notes::write(self.run, self.note, &intent).await
    }
}

/// What is left of `settle` since `since` (microseconds).
pub(super) fn remaining(since: i64, settle: Duration, now: i64) -> Option<Duration> {
    let passed = Duration::from_micros(u64::try_from(now.saturating_sub(since)).unwrap_or_default());
    settle.checked_sub(passed).filter(|rest| !rest.is_zero())
}

/// When to look again, with `rest` to wait at most.
pub(super) fn check_in(rest: Duration) -> Duration {
    (rest / 8).clamp(LOOK_SOONEST, LOOK_LATEST).min(rest)
}

/// Looks, calls if it must, looks again.
pub(super) async fn perform(
    run: &dyn StepContext,
    settle: Duration,
    call: &dyn EffectCall,
) -> Result<Flown, StepError> {
    let flight = Flight { run, note: call.note(), settle };
    let noted = flight.intent();
    let open = noted.as_ref().is_some_and(Intent::is_open);
    let before = match call.look().await {
        // What the lost call came to can't be probed.
        Err(error) if open => return Err(unknown(error)),
        looked => looked?,
    };
    if let Some(mut intent) = noted {
        let ours = intent.purpose == call.purpose();
        match intent.end {
            Some(End::Done) if ours && call.holds(&before) => return Ok(Flown::Done(intent.warnings)),
            None if ours && call.done_since(&intent.before, &before) => {
                return Ok(Flown::Done(flight.end(intent, End::Done, Vec::new()).await?));
            }
            None => {
                if let Some(rest) = flight.rest(&mut intent).await? {
                    let rest_s = rest.as_secs().max(1);
                    told(run, format!("The node may still be {}; looking again (at most {rest_s} s).", call.doing()))
                        .await;
                    return Ok(Flown::Wait(check_in(rest)));
                }
            }
            Some(_) => {}
        }
    }

    told(run, format!("Now {}.", call.doing())).await;
    call.prepare().await?;
    let intent = Intent {
        purpose: call.purpose(),
        before,
        at: run.now().await?,
        lost_at: None,
        end: None,
        warnings: Vec::new(),
    };
    notes::write(run, call.note(), &intent).await?;
    match call.call().await {
        Ok(report) => match report.verdict(&call.doing()) {
            Ok(warnings) => {
                let warnings = flight.end(intent.clone(), End::Done, warnings).await?;
                if call.holds(&call.look().await?) {
                    return Ok(Flown::Done(warnings));
                }
                flight.end(intent, End::Failed, warnings).await?;
                Err(effect_missing(&call.doing()).retryable(None))
            }
            Err(failure) => {
                flight.end(intent, End::Failed, Vec::new()).await?;
                Err(failure.permanent())
            }
        },
        Err(error) => after_error(&flight, intent, call, error).await,
    }
}

async fn told(run: &dyn StepContext, line: String) {
    run.log(Audience::Everyone, line).await;
}

async fn after_error(
    flight: &Flight<'_>,
    intent: Intent,
    call: &dyn EffectCall,
    error: CallError,
) -> Result<Flown, StepError> {
    let known = match error.effect {
        Effect::None => Some(End::NotTaken),
        Effect::Ended => Some(End::Failed),
        Effect::Unknown => None,
    };
    match known {
        Some(end) => drop(flight.end(intent.clone(), end, Vec::new()).await?),
        None => flight.lost(intent.clone()).await?,
    }
    // A refusal is a verdict. Of everything else the node's own state tells more than the answer.
    if known == Some(End::NotTaken) || !error.retryable {
        return Err(if known.is_none() { unknown(error.into()) } else { error.into() });
    }
    match call.look().await {
        Ok(now) if call.done_since(&intent.before, &now) => {
            Ok(Flown::Done(flight.end(intent, End::Done, Vec::new()).await?))
        }
        Ok(_) if known.is_none() && call.unsettling() => Err(unknown(error.into())),
        Ok(_) => Err(error.into()),
        Err(stop @ (StepError::LeaseLost | StepError::Cancelled)) => Err(stop),
        Err(_) if known.is_none() => Err(unknown(error.into())),
        Err(_) => Err(error.into()),
    }
}

/// The same error, with its outcome marked as unknown: if no later attempt finds out, a human must.
pub(super) fn unknown(error: StepError) -> StepError {
    match error {
        StepError::Permanent(failure) => StepError::Permanent(failure.outcome_unknown()),
        StepError::Retryable { failure, retry_after } => {
            StepError::Retryable { failure: failure.outcome_unknown(), retry_after }
        }
        other => other,
    }
}

/// The node said yes, and does not show it.
pub(super) fn effect_missing(doing: &str) -> Failure {
    Failure::new(
        codes::NODE_EFFECT_MISSING,
        format!("The node answered success, but does not show the effect of {doing}. Look at the node's log."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_shrink_and_end() {
        let settle = Duration::from_secs(80);
        assert_eq!(remaining(0, settle, 0), Some(settle));
        assert_eq!(remaining(0, settle, 79_000_000), Some(Duration::from_secs(1)));
        assert_eq!(remaining(0, settle, 80_000_000), None);
        // A clock that went back.
        assert_eq!(remaining(10, settle, 0), Some(settle));
        assert_eq!(check_in(settle), Duration::from_secs(10));
        assert_eq!(check_in(Duration::from_millis(100)), Duration::from_millis(100));
        assert_eq!(check_in(Duration::from_secs(1)), LOOK_SOONEST);
    }
}
