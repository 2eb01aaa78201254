//! What an attempt's answer means for its run: the events that record it.

use std::time::Duration;

use super::{Kind, NewEvent, State, Then};
use crate::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    ids::RunId,
    plan::PlannedStep,
};

/// So many times the policy's attempts are made at most, however many looks were in order in between.
const MANY: u32 = 100;

/// The code of a run that got no slot in time.
pub const SLOT_TIMED_OUT: Code = Code::new("SLOT_TIMED_OUT");

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// These events record it; none when the step stopped because it was asked to.
    Events(Vec<NewEvent>),
    /// The step is given up for good; [`given_up`] records it.
    GivesUp(Failure),
    /// The run is no longer ours to write.
    Lost,
}

/// What an attempt's answer comes to, by its step's policy. `chance` in 0.0..1.0 spreads the waits before another attempt.
pub fn settle(state: &State, step: usize, attempt: u32, result: StepResult, chance: f64) -> Settled {
    let planned = &state.spec.plan.steps[step];
    let event = |kind| NewEvent::step(step, attempt, kind);
    let failure = match result {
        Ok(StepOutcome::Done { output, warnings }) => {
            return Settled::Events(vec![event(Kind::StepSucceeded { output, warnings })]);
        }
        Ok(StepOutcome::NotYet { check_in }) => {
            return Settled::Events(vec![event(Kind::StepYielded { check_in_us: micros(check_in) })]);
        }
        Err(StepError::LeaseLost) => return Settled::Lost,
        Err(StepError::Cancelled) => return Settled::Events(Vec::new()),
        Err(StepError::SlotTimeout { pool, waited, holders }) => {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            let failure = slot_failure(planned, &pool, waited, holders.len(), state.is_live());
            let holders = holders.into_iter().map(RunId).collect();
            return Settled::Events(vec![
                event(Kind::SlotTimedOut { pool, waited_ms, holders }),
                event(Kind::StepFailed { failure, then: Then::Stop }),
            ]);
        }
        Err(StepError::Retryable { failure, retry_after }) => {
            let tries = tries(state, step, retry_after.is_some(), planned.policy.retry.max_attempts);
            if let Some(delay) = planned.policy.retry.delay(tries, retry_after, chance) {
                let failed = event(Kind::StepFailed { failure, then: Then::Retry });
                return Settled::Events(vec![failed, NewEvent::run(Kind::Parked { delay_us: micros(delay) })]);
            }
            let message = match tries {
                0 | 1 => failure.message,
                _ => format!("{}. Tried {tries} times.", failure.message.trim_end_matches('.')),
            };
            Failure { message, ..failure }
        }
        Err(StepError::Permanent(failure)) => failure,
    };
    // What fails on one node of several needs the same care as what stops the run.
    if planned.failure_warns {
        return Settled::Events(vec![event(Kind::StepFailed { failure, then: Then::Warn })]);
    }
    Settled::GivesUp(failure)
}

/// How many attempts count against the policy's, this one included: all. But of a step that is told to come again later, those that failed in a row: a look that found
/// everything in order ends the row, for who follows a long rollout may be told so now and then, as long as it is let through in between. Once there were [`MANY`]
/// times as many as the policy has, all count again: a run must come to its end.
fn tries(state: &State, step: usize, told_to_come_again: bool, most: u32) -> u32 {
    let all = u32::try_from(state.steps[step].attempts.len()).unwrap_or(u32::MAX);
    if !told_to_come_again || all >= most.saturating_mul(MANY) {
        return all;
    }
    let mut row = 0;
    for attempt in state.steps[step].attempts.iter().rev() {
        row += 1;
        if attempt.looked {
            break;
        }
    }
    row
}

/// Records that a step is given up for good: that stops the run, or leaves its place out.
pub fn given_up(state: &State, step: usize, attempt: u32, failure: Failure) -> Vec<NewEvent> {
    vec![NewEvent::step(step, attempt, state.giving_up(step, failure))]
}

fn slot_failure(planned: &PlannedStep, pool: &str, waited: Duration, holders: usize, live: bool) -> Failure {
    let live = if live {
        "The bundle is live; only this hook and those after it did not run."
    } else {
        "Nothing was changed on the node."
    };
    Failure::new(
        SLOT_TIMED_OUT,
        format!(
            "Step {} waited {:.0} s for a slot of pool {pool}, all held by {holders} other hooks. {live} Try again, make hooks shorter, or \
             raise the limit.",
            planned.name,
            waited.as_secs_f64()
        ),
    )
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
