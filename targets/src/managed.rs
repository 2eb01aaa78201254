//! What targets have in common.
//!
//! For whichever needs it:
//!
//! * `opener`: secrets, inside a run and outside. `notes`: what a run remembers, as types of its target.
//! * `patience`: looks at what a platform is at work on, which may fail now and then.
//! * `ambient`: whether the machine's own identity is lent, and where it may be sent.
//!
//! For platforms that run our containers for us, as far as Azure ML and Vertex AI, and their connections, go:
//!
//! * `names`: names that follow from what they are for. `shares`: probabilities as whole percents.
//! * `tokens`: signed in once, asked often. `signed_in`: an API behind one. `schema`, for tests: settings and their JSON Schema name the same.
//! * `answers`: in an API node's form. `image`: the image of a version. `problems`: what stops an update, all at once.
//! * [`Flow`], with `ready` and `flowing`: what the platform is still at work on. `found_of`: tags and the like, without those of others.

pub(crate) mod ambient;
pub(crate) mod answers;
pub(crate) mod image;
pub(crate) mod names;
pub(crate) mod notes;
pub(crate) mod opener;
pub(crate) mod patience;
pub(crate) mod problems;
#[cfg(test)]
pub(crate) mod schema;
pub(crate) mod shares;
pub(crate) mod signed_in;
pub(crate) mod tokens;

use std::time::Duration;

use engine::{failure::StepError, step::StepContext};
use serde_json::{Map, Value};

/// What came of bringing one thing about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flow<T = ()> {
    /// It is so.
    Ready(T),
    /// The platform is at work; look again after this.
    Wait(Duration),
}

/// Looks at work that the platform does are so far apart, unless it asks for another time.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Whatever it asks for, they are no further apart than this.
const LOOK_LATEST: Duration = Duration::from_secs(60);

/// When to look again.
pub(crate) fn check_in(asked: Option<Duration>) -> Duration {
    asked.unwrap_or(LOOK_AGAIN).clamp(Duration::from_secs(1), LOOK_LATEST)
}

/// What there is of what should be there, by name. What others added is none of it.
pub(crate) fn found_of(there: &Value, wanted: &Map<String, Value>) -> Map<String, Value> {
    wanted.keys().filter_map(|name| Some((name.clone(), there.get(name)?.clone()))).collect()
}

/// So many attempts at cleaning up; then what is left over stays, and is told of.
const CLEANING: u32 = 3;

/// Whether what an earlier update left is to stay for good: what is live is right, and the rest only costs. A failed update would be put back to what is half gone.
pub(crate) fn is_left(run: &dyn StepContext, error: &StepError) -> bool {
    match error {
        StepError::Permanent(_) => true,
        StepError::Retryable { .. } => run.attempt() >= CLEANING,
        _ => false,
    }
}

/// Goes on with what is ready, and answers `NotYet` from the step where the platform is still at work.
macro_rules! ready {
    ($flow:expr) => {
        match $flow {
            $crate::managed::Flow::Ready(value) => value,
            $crate::managed::Flow::Wait(check_in) => return Ok(engine::failure::StepOutcome::NotYet { check_in }),
        }
    };
}

/// The same inside something that answers a [`Flow`].
macro_rules! flowing {
    ($flow:expr) => {
        match $flow {
            $crate::managed::Flow::Ready(value) => value,
            $crate::managed::Flow::Wait(check_in) => return Ok($crate::managed::Flow::Wait(check_in)),
        }
    };
}

pub(crate) use {flowing, ready};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_neither_too_soon_nor_too_late() {
        assert_eq!(check_in(None), LOOK_AGAIN);
        assert_eq!(check_in(Some(Duration::ZERO)), Duration::from_secs(1));
        assert_eq!(check_in(Some(Duration::from_secs(3_600))), LOOK_LATEST);
    }
}
