//! The steps of an update, as one viewer sees them: hooks by number alone, unless the viewer administers the infrastructure.

use engine::{
    failure::Failure,
    journal::{AttemptState, Phase, SlotState, State, StepState, Then},
    plan::PlannedStep,
};

use super::waiting::{Holders, Mentioned};
use crate::freeze::{HOOK, HookParams};

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// An attempt is under way.
    Running,
    /// It waits: for a slot, for the node, for its next attempt.
    Waiting,
    /// Done.
    Succeeded,
    /// Done, or failed without stopping the update; look at its warnings.
    Warning,
    /// Failed for good, or stopped.
    Failed,
    /// Done by the update that this one retries.
    Inherited,
    /// The update ended without it.
    Skipped,
}

/// One step of an update.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// From 0; what events and log lines name.
    pub index: usize,
    /// Unique within the update, such as `push_bundle` or `pre_hooks/1`.
    pub name: String,
    /// Which of several nodes it works on; None is none of them, or the only one.
    pub node: Option<String>,
    /// Who does it, such as `push_bundle` or `hook`.
    pub kind: String,
    /// What the hook is called; for administrators of the infrastructure alone.
    pub hook_name: Option<String>,
    /// Where it stands.
    pub status: StepStatus,
    /// When its first attempt began, in µs since the Unix epoch.
    pub started_at: Option<i64>,
    /// When it was over.
    pub ended_at: Option<i64>,
    /// Each try, in order.
    pub attempts: Vec<Attempt>,
    /// The most attempts that its policy allows.
    pub max_attempts: u32,
    /// What it warned of.
    pub warnings: Vec<String>,
}

/// One try at a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When, in µs since the Unix epoch.
    pub started_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Why it failed.
    pub failure: Option<Trouble>,
    /// Another attempt follows from that.
    pub retried: bool,
    /// Its wait for a slot.
    pub slot: Option<SlotWait>,
    /// How many workers vanished in it, and had not come back when the next one took over; also counts how often something broke.
    pub lapses: u32,
}

/// A wait for a slot, kept after it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotWait {
    /// The pool.
    pub pool: String,
    /// When it began; None when a slot was free at once.
    pub since: Option<i64>,
    /// When it was to end, as far as known when it began.
    pub deadline: Option<i64>,
    /// When it was granted.
    pub granted_at: Option<i64>,
    /// When it was given up.
    pub timed_out_at: Option<i64>,
    /// Who held the slots.
    pub holders: Holders,
}

/// Why something failed, for one viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A stable code with a page in `docs/errors`.
    pub code: String,
    /// What happened, and what to do.
    pub message: String,
    /// What we saw; for administrators of the infrastructure alone.
    pub detail: Option<String>,
}

impl Trouble {
    pub(crate) fn of(failure: &Failure, admin: bool) -> Self {
        Self {
            code: failure.code.to_string(),
            message: failure.message.clone(),
            detail: failure.detail.clone().filter(|_| admin),
        }
    }
}

/// All steps, in order.
pub(super) fn render(state: &State, admin: bool, mentioned: &Mentioned) -> Vec<Step> {
    let steps = state.spec.plan.steps.iter().zip(&state.steps).enumerate();
    steps.map(|(index, (planned, step))| one(state, index, planned, step, admin, mentioned)).collect()
}

fn one(
    state: &State,
    index: usize,
    planned: &PlannedStep,
    step: &StepState,
    admin: bool,
    mentioned: &Mentioned,
) -> Step {
    let numbered = step.attempts.iter().zip(1..);
    let attempts: Vec<_> = numbered.map(|(attempt, number)| one_attempt(number, attempt, admin, mentioned)).collect();
    let status = status(state, index, step);
    let over = !matches!(status, StepStatus::Pending | StepStatus::Running | StepStatus::Waiting);
    Step {
        index,
        name: planned.name.clone(),
        node: planned.lane.clone(),
        kind: planned.kind.clone(),
        hook_name: if admin { hook_name(planned) } else { None },
        status,
        started_at: attempts.first().map(|attempt| attempt.started_at),
        ended_at: attempts.last().and_then(|attempt| attempt.ended_at).filter(|_| over),
        attempts,
        max_attempts: planned.policy.retry.max_attempts,
        warnings: step.warnings.clone(),
    }
}

pub(crate) fn hook_name(planned: &PlannedStep) -> Option<String> {
    if planned.kind != HOOK {
        return None;
    }
    serde_json::from_value::<HookParams>(planned.params.clone()).ok().map(|params| params.name)
}

fn status(state: &State, index: usize, step: &StepState) -> StepStatus {
    if step.inherited {
        return StepStatus::Inherited;
    }
    // Its node was left out.
    if step.warned && state.spec.plan.steps[index].lane.is_some() {
        return StepStatus::Failed;
    }
    if step.is_over() {
        return if step.warnings.is_empty() { StepStatus::Succeeded } else { StepStatus::Warning };
    }
    let goes_on = !matches!(state.phase, Phase::Ended { .. } | Phase::Stuck);
    match step.attempts.last() {
        None if state.is_left_out(index) => StepStatus::Skipped,
        None if goes_on => StepStatus::Pending,
        None => StepStatus::Skipped,
        Some(attempt) if goes_on && matches!(state.phase, Phase::In { step } if step == index) => {
            if attempt.yielded || attempt.slot.as_ref().is_some_and(waits) {
                StepStatus::Waiting
            } else {
                StepStatus::Running
            }
        }
        Some(attempt) if goes_on && attempt.then == Some(Then::Retry) => StepStatus::Waiting,
        Some(_) => StepStatus::Failed,
    }
}

pub(super) fn waits(slot: &SlotState) -> bool {
    slot.granted_at.is_none() && slot.timed_out_at.is_none()
}

fn one_attempt(number: u32, attempt: &AttemptState, admin: bool, mentioned: &Mentioned) -> Attempt {
    Attempt {
        number,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        failure: attempt.failure.as_ref().map(|failure| Trouble::of(failure, admin)),
        retried: attempt.then == Some(Then::Retry),
        slot: attempt.slot.as_ref().map(|slot| SlotWait {
            pool: slot.pool.clone(),
            since: slot.since,
            deadline: slot_deadline(slot),
            granted_at: slot.granted_at,
            timed_out_at: slot.timed_out_at,
            holders: mentioned.render(slot.holders.iter().copied()),
        }),
        lapses: attempt.lapses(),
    }
}

pub(super) fn slot_deadline(slot: &SlotState) -> Option<i64> {
    let wait = i64::try_from(slot.wait_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
    slot.since.map(|since| since.saturating_add(wait))
}
