//! Calls that take long, and whose answer can be lost: noted before, looked for after. One whose end nobody knows may go on at the node, and is repeated only when
//! the node does not show its effect and has had the time to settle.

use std::time::Duration;

use engine::{
    failure::{Failure, StepError},
    step::StepContext,
};
use serde::{Deserialize, Serialize};

use super::{notes, session::Session};
use crate::{
    codes,
    http::{CallError, Effect},
};

/// Looks while a call may still be going on are at least and at most so far apart.
const LOOK_SOONEST: Duration = Duration::from_millis(500);
const LOOK_LATEST: Duration = Duration::from_secs(15);

/// What is done with a generation.
#[derive(Clone, Copy)]
pub(super) enum Doing<'a> {
    /// From this file on the node's disk.
    Import(&'a str),
    Preload,
}

/// What came of [`perform`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flown {
    /// The effect is there.
    Done,
    /// Look again after this.
    Wait(Duration),
}

/// A call that is under way, or whose end nobody knows. A note of one that ended is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Intent {
    generation: String,
    /// Since when nobody hears the call any more, by the database's clock.
    #[serde(default)]
    lost_at: Option<i64>,
}

impl Doing<'_> {
    fn note(self) -> &'static str {
        match self {
            Self::Import(_) => notes::IMPORT,
            Self::Preload => notes::PRELOAD,
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Import(_) => "importing",
            Self::Preload => "preloading",
        }
    }

    /// Whether the node shows the effect; what it does not tell is not shown.
    async fn is_done(self, session: &Session<'_>, generation: &str) -> Result<bool, CallError> {
        let all = session.api().generations(session.id()).await?.unwrap_or_default();
        let found = all.find(generation);
        Ok(match self {
            Self::Import(_) => found.is_some(),
            Self::Preload => found.is_some_and(|found| found.preloaded == Some(true)),
        })
    }

    async fn call(self, session: &Session<'_>, generation: &str) -> Result<(), CallError> {
        match self {
            Self::Import(path) => session.api().import(session.id(), path).await,
            Self::Preload => session.api().preload(session.id(), generation).await,
        }
    }
}

/// Whether such a call may be under way: how long it is to be waited for.
pub(super) async fn rest(session: &Session<'_>, doing: Doing<'_>) -> Result<Option<Duration>, StepError> {
    let run = session.run();
    let Some(mut intent) = notes::read::<Option<Intent>>(run, doing.note()).flatten() else { return Ok(None) };
    let now = run.now().await?;
    let lost = match intent.lost_at {
        Some(lost) => lost,
        // Whoever made the call is gone. It was heard until some time before now.
        None => {
            intent.lost_at = Some(now);
            notes::write(run, doing.note(), &intent).await?;
            now
        }
    };
    Ok(remaining(lost, session.settle(), now))
}

/// Looks, calls if it must, looks again.
pub(super) async fn perform(session: &Session<'_>, doing: Doing<'_>, generation: &str) -> Result<Flown, StepError> {
    let (run, note) = (session.run(), doing.note());
    if doing.is_done(session, generation).await? {
        return Ok(Flown::Done);
    }
    if let Some(rest) = rest(session, doing).await? {
        let (phrase, rest_s) = (doing.phrase(), rest.as_secs().max(1));
        session.log(format!("The node may still be {phrase} a generation; looking again (at most {rest_s} s).")).await;
        return Ok(Flown::Wait(check_in(rest)));
    }
    session.log(format!("Now {} generation {}.", doing.phrase(), session.api().clean(generation))).await;
    notes::write(run, note, &Intent { generation: generation.to_owned(), lost_at: None }).await?;
    let Err(error) = doing.call(session, generation).await else {
        ended(run, note).await?;
        return Ok(Flown::Done);
    };
    if error.effect == Effect::Unknown {
        let lost_at = Some(run.now().await?);
        notes::write(run, note, &Intent { generation: generation.to_owned(), lost_at }).await?;
    } else {
        ended(run, note).await?;
    }
    // A refusal is a verdict. Of everything else the node's own state tells more than the answer.
    if error.retryable && error.effect != Effect::None && doing.is_done(session, generation).await.unwrap_or(false) {
        ended(run, note).await?;
        return Ok(Flown::Done);
    }
    Err(error.into())
}

async fn ended(run: &dyn StepContext, note: &'static str) -> Result<(), StepError> {
    notes::write(run, note, &None::<Intent>).await
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
