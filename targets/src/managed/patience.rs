//! Following what a platform is at work on. It goes on whether we see it or not: so an attempt that only looked, and failed at that, is made again, and counts only
//! when so many did in a row. Changing something has no such patience: there the step's policy counts each try.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use engine::{
    failure::{StepError, StepOutcome, StepResult},
    ids::RunId,
    step::{Audience, StepContext},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Flow, LOOK_AGAIN, check_in, notes};

/// Which run [`begun`] was said of.
const BEGUN: &str = "begun";
/// [`Unseen`], while looks fail.
const UNSEEN: &str = "unseen";
/// So many looks in a row may fail, ten seconds apart or more: two minutes at least.
const LOOKS: u32 = 12;

/// Looks in a row that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unseen {
    /// Of which run: one that inherits the note looks for itself.
    run: RunId,
    looks: u32,
}

/// Whether a call that changes something is on its way, or failed: what ends an attempt then is no look.
#[derive(Debug, Default)]
pub(crate) struct Changing(AtomicBool);

impl Changing {
    /// Makes such a call.
    pub(crate) async fn by<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.0.store(true, Ordering::Relaxed);
        let called = call.await;
        self.0.store(called.is_err(), Ordering::Relaxed);
        called
    }
}

/// The platform took something on. From now on [`follows`] is true in this run.
pub(crate) async fn begun(run: &dyn StepContext) -> Result<(), StepError> {
    if follows(run) { Ok(()) } else { notes::write(run, BEGUN, &run.run()).await }
}

/// Whether [`begun`] was said in this run, by any step.
pub(crate) fn follows(run: &dyn StepContext) -> bool {
    notes::read::<RunId>(run, BEGUN).is_some_and(|of| of == run.run())
}

/// What an attempt needs before it can look, where `following`: a way in, say.
///
/// # Errors
/// As [`looked`].
pub(crate) async fn opened<T>(
    run: &dyn StepContext,
    following: bool,
    opened: Result<T, StepError>,
) -> Result<Flow<T>, StepError> {
    match opened {
        Err(error) if following => Ok(Flow::Wait(failed(run, error).await?)),
        opened => Ok(Flow::Ready(opened?)),
    }
}

/// What a whole attempt came to, in a run that may follow something.
///
/// # Errors
/// As [`looked`], and what a call that changes something came to.
pub(crate) async fn attempted(run: &dyn StepContext, changing: &Changing, attempt: StepResult) -> StepResult {
    match attempt {
        Err(error) if follows(run) && !changing.0.load(Ordering::Relaxed) => {
            Ok(StepOutcome::NotYet { check_in: failed(run, error).await? })
        }
        Err(error) => Err(error),
        Ok(outcome) => {
            seen(run).await?;
            Ok(outcome)
        }
    }
}

/// What a look at work that the platform took on came to.
///
/// # Errors
/// What no later look would change, and what failed once too often in a row.
pub(crate) async fn looked<T>(run: &dyn StepContext, look: Result<T, StepError>) -> Result<Flow<T>, StepError> {
    match look {
        Ok(found) => {
            seen(run).await?;
            Ok(Flow::Ready(found))
        }
        Err(error) => Ok(Flow::Wait(failed(run, error).await?)),
    }
}

/// A look that failed before it came to where [`looked`] is told of it: when to look again.
///
/// # Errors
/// As [`looked`].
pub(crate) async fn failed(run: &dyn StepContext, error: StepError) -> Result<Duration, StepError> {
    let StepError::Retryable { failure, retry_after } = error else { return Err(error) };
    let looks = unseen(run).map_or(0, |unseen| unseen.looks) + 1;
    if looks > LOOKS {
        // The next attempt looks as often. It counts in full: that the platform asks to come again was heard a dozen times.
        run.put_note(UNSEEN, Value::Null).await?;
        return Err(failure.retryable(None));
    }
    if looks == 1 {
        let message = &failure.message;
        run.log(Audience::Everyone, format!("What goes on cannot be seen for the moment. {message} Looking again."))
            .await;
    }
    notes::write(run, UNSEEN, &Unseen { run: run.run(), looks }).await?;
    Ok(check_in(retry_after).max(LOOK_AGAIN))
}

async fn seen(run: &dyn StepContext) -> Result<(), StepError> {
    if unseen(run).is_some() { run.put_note(UNSEEN, Value::Null).await } else { Ok(()) }
}

fn unseen(run: &dyn StepContext) -> Option<Unseen> {
    notes::read::<Unseen>(run, UNSEEN).filter(|unseen| unseen.run == run.run())
}
