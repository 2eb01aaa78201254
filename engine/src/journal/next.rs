//! What comes next. Recovery is [`State::fold`], then [`State::next`]: there is no other way to go on, crashed or not.

use std::collections::BTreeSet;

use super::{
    event::{Kind, Status, Then},
    state::{AttemptState, Phase, State, StepState},
};
use crate::{
    failure::{Code, Failure},
    plan::{OnFailure, OnInterrupt, PlannedStep},
};

/// A run that lost this many workers for good within one attempt would go on to take the whole fleet.
const POISON: u32 = 3;

/// The code of an attempt that was interrupted after it may have acted.
pub const OUTCOME_UNKNOWN: Code = Code::new("OUTCOME_UNKNOWN");
/// The code of an attempt, and a run, that was cancelled.
pub const CANCELLED: Code = Code::new("CANCELLED");
/// The code of a run that lost its workers again and again.
pub const WORKERS_LOST: Code = Code::new("WORKERS_LOST");
/// The code of a run that could not be put back.
pub const RESTORE_FAILED: Code = Code::new("RESTORE_FAILED");

/// What to do with a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Begin this attempt.
    Start {
        /// The step.
        step: usize,
        /// The attempt.
        attempt: u32,
    },
    /// Go on with an attempt that began under an earlier lease, or that yielded: look again.
    Resume {
        /// The step.
        step: usize,
        /// The attempt.
        attempt: u32,
    },
    /// End this attempt without trying again: it was cancelled, or it may have acted and must not act twice.
    Fail {
        /// The step.
        step: usize,
        /// The attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// A human must decide.
    Stick(Failure),
    /// The end.
    Finish {
        /// How.
        status: Status,
        /// Why, unless it succeeded.
        failure: Option<Failure>,
    },
    /// Nothing: it is over, or stuck.
    Nothing,
}

impl State {
    /// What comes next, for whoever holds the run.
    pub fn next(&self) -> Next {
        match self.phase {
            Phase::Ended { .. } => Next::Nothing,
            Phase::Stuck => Next::Nothing,
            Phase::In { step } => self.next_inside(step),
            Phase::Edge { .. } => match self.upcoming() {
                Some(step) => Next::Start { step, attempt: self.steps[step].attempts.len() as u32 + 1 },
                None => self.finish(),
            },
        }
    }

    fn next_inside(&self, step: usize) -> Next {
        let planned = &self.spec.plan.steps[step];
        let attempt = self.steps[step].attempts.len() as u32;
        let Some(state) = self.steps[step].attempts.last() else { return Next::Nothing };
        if state.lapses() >= POISON {
            return Next::Stick(Failure::new(
                WORKERS_LOST,
                format!(
                    "{POISON} workers vanished while they were at step {}, and have not come back. Look at the workers' logs, then retry or abandon the update.",
                    planned.name
                ),
            ));
        }
        if state.interrupted && planned.on_interrupt == OnInterrupt::Fail {
            let failure = Failure::new(
                OUTCOME_UNKNOWN,
                format!(
                    "Step {} was interrupted and may have acted; its policy says not to run it again. Check what it did, then retry.",
                    planned.name
                ),
            );
            return Next::Fail { step, attempt, failure };
        }
        if self.cancelled_by.is_some() && !planned.only_after_failure {
            return Next::Fail { step, attempt, failure: self.cancel_failure() };
        }
        Next::Resume { step, attempt }
    }

    /// The step that begins at the next edge, if the run goes on.
    pub fn upcoming(&self) -> Option<usize> {
        let plan = &self.spec.plan;
        let after_failure = |index: &usize| plan.steps[*index].only_after_failure;
        let mut open = (0..plan.steps.len()).filter(|index| !self.steps[*index].is_over());
        if self.stopped.is_none() && self.cancelled_by.is_none() {
            return open.find(|index| !after_failure(index) && !self.is_left_out(*index));
        }
        let unknown = self.stopped.as_ref().is_some_and(|failure| failure.outcome_unknown);
        if plan.on_failure != OnFailure::Restore || unknown || !self.changed_midway() {
            return None;
        }
        // Each place that was changed is put back, whatever became of another.
        open.find(|index| {
            after_failure(index) && !self.gave_up(*index) && self.began_to_change(&plan.steps[*index].lane)
        })
    }

    /// The node (or all nodes taken together) may be between two states: a restorable step began, and not all of them are done.
    pub fn changed_midway(&self) -> bool {
        let mut restorable = self.restorable();
        restorable.clone().any(|index| self.began(index)) && restorable.any(|index| self.steps[index].output.is_none())
    }

    /// The places that are between two states: of each, the restorable step that began last.
    pub fn midway(&self) -> Vec<usize> {
        let lane = |index: usize| &self.spec.plan.steps[index].lane;
        let unfinished =
            |index: &usize| self.restorable().any(|i| lane(i) == lane(*index) && self.steps[i].output.is_none());
        let newest = |index: &usize| {
            !self.restorable().any(|later| later > *index && lane(later) == lane(*index) && self.began(later))
        };
        self.restorable().filter(|index| self.began(*index)).filter(newest).filter(unfinished).collect()
    }

    /// The restorable steps of all places that are not left out.
    fn restorable(&self) -> impl Iterator<Item = usize> + Clone {
        let planned = |index: &usize| self.spec.plan.steps[*index].restorable;
        (0..self.steps.len()).filter(planned).filter(|index| !self.is_left_out(*index))
    }

    fn began(&self, step: usize) -> bool {
        !self.steps[step].attempts.is_empty()
    }

    fn began_to_change(&self, lane: &Option<String>) -> bool {
        self.restorable().any(|index| self.spec.plan.steps[index].lane == *lane && self.began(index))
    }

    /// The step is of a lane in which an earlier one failed for good, and the run went on without that place.
    pub fn is_left_out(&self, step: usize) -> bool {
        let lane = &self.spec.plan.steps[step].lane;
        let same = |index: &usize| self.spec.plan.steps[*index].lane == *lane;
        lane.is_some() && (0..self.steps.len()).filter(same).any(|index| self.steps[index].warned)
    }

    /// A step is given up for good, and what follows: under [`OnFailure::GoOn`] its place is left out, unless fewer than the quorum would be left (which is told), or
    /// nobody knows what became of it there.
    pub(super) fn giving_up(&self, step: usize, mut failure: Failure) -> Kind {
        let lane = &self.spec.plan.steps[step].lane;
        let may_go_on = self.spec.plan.on_failure == OnFailure::GoOn
            && lane.is_some()
            && !failure.outcome_unknown
            && self.cancelled_by.is_none();
        let (left, least, all) = self.quorum_without(lane);
        if may_go_on && left >= least {
            return Kind::StepFailed { failure, then: Then::Warn };
        }
        if may_go_on && self.spec.plan.quorum.is_some() {
            failure.message.push_str(&format!(
                " Without it {left} of {all} nodes are left, and the quorum is {least}: the update ends here."
            ));
        }
        Kind::StepFailed { failure, then: Then::Stop }
    }

    /// How many places can still succeed when this one does not, how many must, and how many there are.
    fn quorum_without(&self, lane: &Option<String>) -> (usize, usize, usize) {
        let lanes = |left: &dyn Fn(usize) -> bool| {
            let of = (0..self.steps.len())
                .filter(|index| left(*index))
                .filter_map(|index| self.spec.plan.steps[index].lane.as_deref());
            of.collect::<BTreeSet<_>>().len()
        };
        let all = lanes(&|_| true);
        let left = lanes(&|index| !self.is_left_out(index) && self.spec.plan.steps[index].lane != *lane);
        let least = self.spec.plan.quorum.map_or(1, |least| usize::try_from(least).unwrap_or(all)).clamp(1, all.max(1));
        (left, least, all)
    }

    /// Whether a place was left in order: a step of one of these kinds is recorded there with an output. One that was to put it back, and did not, leaves it
    /// between two states, whatever had been recorded before.
    pub fn is_settled(&self, lane: Option<&str>, kinds: &[&str]) -> bool {
        let steps = self.spec.plan.steps.iter().zip(&self.steps).filter(|(planned, _)| planned.lane.as_deref() == lane);
        let broken_off = |(planned, state): (&PlannedStep, &StepState)| {
            planned.only_after_failure && !state.attempts.is_empty() && state.output.is_none()
        };
        let recorded = |(planned, state): (&PlannedStep, &StepState)| {
            kinds.contains(&planned.kind.as_str()) && state.output.as_ref().is_some_and(|output| !output.is_null())
        };
        !steps.clone().any(broken_off) && steps.clone().any(recorded)
    }

    /// Why places could not be put back, each reason once.
    fn restores_that_failed(&self) -> Vec<&Failure> {
        let steps = self.spec.plan.steps.iter().zip(&self.steps);
        let last = steps.filter(|(planned, _)| planned.only_after_failure).filter_map(|(_, step)| step.attempts.last());
        let mut all: Vec<&Failure> = Vec::new();
        for failure in last.filter(|attempt| attempt.then == Some(Then::Stop)).filter_map(|a| a.failure.as_ref()) {
            if !all.iter().any(|known| known.message == failure.message) {
                all.push(failure);
            }
        }
        all
    }

    fn gave_up(&self, step: usize) -> bool {
        self.steps[step].attempts.last().is_some_and(|attempt| attempt.then == Some(Then::Stop))
    }

    fn finish(&self) -> Next {
        let plan = &self.spec.plan;
        let failed: Vec<_> = (0..plan.steps.len())
            .filter(|index| plan.steps[*index].only_after_failure && self.gave_up(*index))
            .map(|index| plan.steps[index].lane.as_deref())
            .collect();
        if !failed.is_empty() {
            let first = self.stopped.as_ref().map_or(CANCELLED, |failure| failure.code.clone());
            let named: Vec<_> = failed.into_iter().flatten().collect();
            let place = if named.is_empty() { String::new() } else { format!(" on {}", named.join(", ")) };
            let mut message = format!(
                "The update stopped with {first}, and what was active before could not be put back{place}. Check the node, then retry or abandon the update."
            );
            if let Some(stopped) = &self.stopped {
                message.push_str(&format!(" It stopped because: {}", stopped.message));
            }
            for failure in self.restores_that_failed() {
                message.push_str(&format!(" It was not put back because ({}): {}", failure.code, failure.message));
            }
            return Next::Stick(Failure::new(RESTORE_FAILED, message));
        }
        let over = |index: usize| {
            plan.steps[index].only_after_failure || self.steps[index].is_over() || self.is_left_out(index)
        };
        let done = (0..plan.steps.len()).all(over);
        match &self.stopped {
            Some(failure) if failure.outcome_unknown => Next::Stick(failure.clone()),
            Some(failure) if failure.code != CANCELLED => {
                Next::Finish { status: Status::Failed, failure: Some(failure.clone()) }
            }
            None if done => {
                let warned = self.steps.iter().any(|step| !step.warnings.is_empty());
                Next::Finish { status: if warned { Status::Warning } else { Status::Succeeded }, failure: None }
            }
            _ => self.finish_cancelled(),
        }
    }

    fn finish_cancelled(&self) -> Next {
        Next::Finish { status: Status::Cancelled, failure: Some(self.cancel_failure()) }
    }

    fn cancel_failure(&self) -> Failure {
        self.cancelled_failure(self.cancelled_by.as_deref().unwrap_or("somebody"))
    }

    /// What a cancel by this login comes to.
    pub(super) fn cancelled_failure(&self, by: &str) -> Failure {
        let (restore, forward): (Vec<_>, Vec<_>) =
            self.spec.plan.steps.iter().zip(&self.steps).partition(|(planned, _)| planned.only_after_failure);
        let last = forward.into_iter().rev().find_map(|(planned, state)| Some((planned, state.attempts.last()?)));
        let Some((planned, attempt)) = last else {
            return Failure::new(CANCELLED, format!("Cancelled by {by} before it began; nothing was changed."));
        };
        let broken_off =
            attempt.failure.as_ref().map_or(attempt.ended_at.is_none(), |failure| failure.code == CANCELLED);
        let granted = attempt.slot.as_ref().is_some_and(|slot| slot.granted_at.is_some());
        let failed = !broken_off && attempt.failure.is_some();
        let place = match &planned.name {
            name if failed => {
                format!(
                    "after a failed attempt at step {name}, which may have done a part of it; the next update looks first."
                )
            }
            name if !broken_off => format!("after step {name}."),
            name if planned.slot.is_none() => format!(
                "in step {name}. What that had asked of the node may still take effect there; the next update looks first."
            ),
            name if granted => format!("in step {name}. What its hook had done by then stands."),
            name => format!("in step {name}, before its hook began."),
        };
        let put_back = restore.iter().any(|(_, state)| state.output.as_ref().is_some_and(|output| !output.is_null()));
        let live = self.is_live() && self.spec.plan.steps.iter().any(|planned| planned.restorable);
        let rest = match (put_back, live) {
            (true, _) => "What was active before was put back.",
            (false, true) => "What it deploys is live.",
            (false, false) => "What the steps before it did stands.",
        };
        Failure::new(CANCELLED, format!("Cancelled by {by} {place} {rest}"))
    }

    /// Whether all that changes what runs on the node was done; where there are several nodes, on all that are not left out.
    pub fn is_live(&self) -> bool {
        self.restorable().all(|index| self.steps[index].output.is_some())
    }

    /// The attempt under way, if one is.
    pub fn under_way(&self) -> Option<(usize, &AttemptState)> {
        let Phase::In { step } = self.phase else { return None };
        self.steps[step].attempts.last().map(|attempt| (step, attempt))
    }

    /// The projection that is stored beside the journal.
    pub fn status(&self) -> Status {
        match &self.phase {
            Phase::Ended { status, .. } => *status,
            Phase::Stuck => Status::Stuck,
            Phase::Edge { parked: true } => Status::Waiting,
            Phase::Edge { parked: false } if self.epoch == 0 => Status::Queued,
            Phase::Edge { parked: false } => Status::Running,
            Phase::In { .. } => {
                let waits = self.under_way().is_some_and(|(_, attempt)| {
                    attempt.yielded
                        || attempt
                            .slot
                            .as_ref()
                            .is_some_and(|slot| slot.granted_at.is_none() && slot.timed_out_at.is_none())
                });
                if waits { Status::Waiting } else { Status::Running }
            }
        }
    }

    /// The step and attempt under way, as stored in the run's row: what a slot is bound to. None at an edge.
    pub fn position(&self) -> (Option<i64>, i64) {
        match self.under_way() {
            Some((step, _)) => (i64::try_from(step).ok(), self.steps[step].attempts.len() as i64),
            None => (None, 0),
        }
    }
}

impl Kind {
    /// The name under which it is stored.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "Requested",
            Self::Claimed { .. } => "Claimed",
            Self::StepStarted => "StepStarted",
            Self::SlotWaiting { .. } => "SlotWaiting",
            Self::SlotGranted { .. } => "SlotGranted",
            Self::SlotTimedOut { .. } => "SlotTimedOut",
            Self::StepNoted { .. } => "StepNoted",
            Self::StepSucceeded { .. } => "StepSucceeded",
            Self::StepYielded { .. } => "StepYielded",
            Self::StepFailed { .. } => "StepFailed",
            Self::Parked { .. } => "Parked",
            Self::LeaseReleased { .. } => "LeaseReleased",
            Self::CancelRequested { .. } => "CancelRequested",
            Self::Stuck { .. } => "Stuck",
            Self::Abandoned { .. } => "Abandoned",
            Self::Finished { .. } => "Finished",
        }
    }
}
