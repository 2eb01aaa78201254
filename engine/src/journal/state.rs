//! The fold: what a run is, told by its journal alone.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::event::{Event, Kind, Status, Then};
use crate::{
    failure::Failure,
    ids::{RunId, WorkerId},
    spec::RunSpec,
};

/// A run, as its journal tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What it does.
    pub spec: Arc<RunSpec>,
    /// When it was requested.
    pub requested_at: i64,
    /// The newest event.
    pub seq: i64,
    /// The newest epoch.
    pub epoch: i64,
    /// Who claimed the run last.
    pub claimed_by: Option<WorkerId>,
    /// One for each step of the plan.
    pub steps: Vec<StepState>,
    /// Facts made durable, inherited ones included.
    pub notes: BTreeMap<String, Value>,
    /// Where it stands.
    pub phase: Phase,
    /// Who asked to cancel.
    pub cancelled_by: Option<String>,
    /// Why it stopped before its plan's end.
    pub stopped: Option<Failure>,
    /// How long it rests before somebody may take it again, in microseconds from its newest event.
    pub rests_us: Option<i64>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Between steps. `parked`: the next attempt waits for its time.
    Edge {
        /// Another attempt of the step that just failed comes, later.
        parked: bool,
    },
    /// An attempt at this step is under way.
    In {
        /// Its index.
        step: usize,
    },
    /// A human must decide.
    Stuck,
    /// Over.
    Ended {
        /// How.
        status: Status,
        /// When.
        at: i64,
    },
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// Each try.
    pub attempts: Vec<AttemptState>,
    /// It is done, with this output.
    pub output: Option<Value>,
    /// It was done by the run that this one retries.
    pub inherited: bool,
    /// It failed for good, and the run went on all the same.
    pub warned: bool,
    /// What it warned of.
    pub warnings: Vec<String>,
}

impl StepState {
    /// Nothing is left to do here.
    pub fn is_over(&self) -> bool {
        self.output.is_some() || self.warned
    }
}

/// One try at a step.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptState {
    /// When it began.
    pub started_at: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// What follows from that.
    pub then: Option<Then>,
    /// The wait for a slot, the newest if a takeover began it anew.
    pub slot: Option<SlotState>,
    /// It looks again later, lease released.
    pub yielded: bool,
    /// A look of it found everything in order, but not done yet.
    pub looked: bool,
    /// It may have acted under the lease that is current.
    pub acts: bool,
    /// It may have acted under a lease that was lost, and nobody recorded how it went.
    pub interrupted: bool,
    /// The workers that vanished in it, and had not come back when that was looked at last.
    pub lost: Vec<WorkerId>,
    /// How often it was given back because something broke.
    pub faults: u32,
    /// How often a slot was granted to it: a hook began at most so often.
    pub grants: u32,
}

impl AttemptState {
    /// How often it took its worker with it, as far as anybody knows.
    pub fn lapses(&self) -> u32 {
        self.lost.len() as u32 + self.faults
    }
}

/// A wait for a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotState {
    /// The pool.
    pub pool: String,
    /// When the wait began; None when a slot was free at once.
    pub since: Option<i64>,
    /// How long it may take, in milliseconds.
    pub wait_ms: u64,
    /// Who held the slots then.
    pub holders: Vec<RunId>,
    /// When it was granted.
    pub granted_at: Option<i64>,
    /// When it was given up.
    pub timed_out_at: Option<i64>,
}

impl SlotState {
    /// Without a wait.
    fn at_once(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            since: None,
            wait_ms: 0,
            holders: Vec::new(),
            granted_at: None,
            timed_out_at: None,
        }
    }
}

/// An event that cannot follow from what came before: a bug, or somebody else's hand in the database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event {seq} ({kind}) cannot follow: {why}")]
pub struct Illegal {
    /// Which.
    pub seq: i64,
    /// Its kind.
    pub kind: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

impl State {
    /// Folds a whole journal.
    ///
    /// # Errors
    /// [`Illegal`] for the first event that cannot follow; an empty journal is illegal, too.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, Illegal> {
        let mut events = events.into_iter();
        let none = Illegal { seq: 1, kind: "Requested", why: "the journal is empty" };
        let mut state = Self::begin(events.next().ok_or(none)?)?;
        for event in events {
            state.apply(event)?;
        }
        Ok(state)
    }

    fn begin(first: &Event) -> Result<Self, Illegal> {
        let Kind::Requested { spec } = &first.kind else {
            return Err(Illegal { seq: first.seq, kind: first.kind.name(), why: "a journal begins with Requested" });
        };
        if first.seq != 1 || first.epoch != 0 {
            return Err(Illegal { seq: first.seq, kind: first.kind.name(), why: "event 1 has number 1 and epoch 0" });
        }
        let mut steps = vec![StepState::default(); spec.plan.steps.len()];
        let mut notes = BTreeMap::new();
        if let Some(inherited) = &spec.inherited {
            notes.clone_from(&inherited.notes);
            for (planned, state) in spec.plan.steps.iter().zip(&mut steps) {
                if let Some(output) = inherited.steps.get(&planned.name) {
                    *state = StepState { output: Some(output.clone()), inherited: true, ..StepState::default() };
                }
            }
        }
        Ok(Self {
            spec: Arc::new((**spec).clone()),
            requested_at: first.at,
            seq: 1,
            epoch: 0,
            claimed_by: None,
            steps,
            notes,
            phase: Phase::Edge { parked: false },
            cancelled_by: None,
            stopped: None,
            rests_us: None,
        })
    }

    /// Adds one event.
    ///
    /// # Errors
    /// [`Illegal`], and the state is as it was.
    pub fn apply(&mut self, event: &Event) -> Result<(), Illegal> {
        let illegal = |why| Illegal { seq: event.seq, kind: event.kind.name(), why };
        if event.seq != self.seq + 1 {
            return Err(illegal("its number does not follow"));
        }
        let claims = matches!(event.kind, Kind::Claimed { .. });
        let ends = matches!(event.kind, Kind::CancelRequested { .. } | Kind::Abandoned { .. });
        if event.epoch != self.epoch + i64::from(claims) && !(ends && event.epoch == self.epoch + 1) {
            return Err(illegal("its epoch does not follow"));
        }
        if matches!(self.phase, Phase::Ended { .. }) {
            return Err(illegal("the run has ended"));
        }
        self.change(event).map_err(illegal)?;
        self.rests_us = event.kind.rests_us();
        self.seq = event.seq;
        self.epoch = event.epoch;
        Ok(())
    }

    fn change(&mut self, event: &Event) -> Result<(), &'static str> {
        match &event.kind {
            Kind::Requested { .. } => return Err("a run is requested once"),
            Kind::Claimed { worker, lapsed, came_back } => self.claim(*worker, *lapsed, came_back)?,
            Kind::StepStarted => self.start(event)?,
            Kind::SlotWaiting { pool, wait_ms, holders } => {
                let attempt = self.attempt(event)?;
                attempt.slot = Some(SlotState {
                    pool: pool.clone(),
                    since: Some(event.at),
                    wait_ms: *wait_ms,
                    holders: holders.clone(),
                    granted_at: None,
                    timed_out_at: None,
                });
            }
            Kind::SlotGranted { pool, .. } => {
                let attempt = self.attempt(event)?;
                attempt.slot.get_or_insert_with(|| SlotState::at_once(pool)).granted_at = Some(event.at);
                attempt.grants += 1;
                attempt.acts = true;
            }
            Kind::SlotTimedOut { pool, holders, .. } => {
                // Without a word of waiting, when its first turn came after the window's end.
                let slot = self.attempt(event)?.slot.get_or_insert_with(|| SlotState::at_once(pool));
                slot.timed_out_at = Some(event.at);
                slot.holders.clone_from(holders);
            }
            Kind::StepNoted { key, value } => {
                self.attempt(event)?;
                self.notes.insert(key.clone(), value.clone());
            }
            Kind::StepSucceeded { output, warnings } => {
                self.attempt(event)?.ended_at = Some(event.at);
                let step = self.current(event)?;
                step.output = Some(output.clone());
                step.warnings.clone_from(warnings);
                self.phase = Phase::Edge { parked: false };
            }
            Kind::StepYielded { .. } => {
                let attempt = self.attempt(event)?;
                attempt.yielded = true;
                attempt.looked = true;
                attempt.acts = false;
                attempt.interrupted = false;
            }
            Kind::StepFailed { failure, then } => self.fail(event, failure, *then)?,
            Kind::Parked { .. } => match &mut self.phase {
                Phase::Edge { parked } => *parked = true,
                _ => return Err("only a failed attempt is parked"),
            },
            Kind::LeaseReleased { fault, .. } => {
                self.alive()?;
                if let (true, Phase::In { step }) = (*fault, &self.phase)
                    && let Some(attempt) = self.steps[*step].attempts.last_mut()
                {
                    attempt.faults += 1;
                }
            }
            Kind::CancelRequested { by } => {
                if self.cancelled_by.is_some() {
                    return Err("cancel was requested before");
                }
                self.cancelled_by = Some(by.clone());
                // Under an epoch of its own: it ends what nobody held.
                if event.epoch > self.epoch {
                    self.interrupt();
                }
            }
            Kind::Stuck { failure } => {
                self.alive()?;
                self.stopped = Some(failure.clone());
                self.phase = Phase::Stuck;
            }
            Kind::Abandoned { .. } => {
                if self.phase != Phase::Stuck {
                    return Err("only a stuck run is abandoned");
                }
            }
            Kind::Finished { status, failure } => {
                if !status.is_final() {
                    return Err("not a final status");
                }
                self.stopped = failure.clone().or_else(|| self.stopped.take());
                self.phase = Phase::Ended { status: *status, at: event.at };
            }
        }
        Ok(())
    }

    fn alive(&self) -> Result<(), &'static str> {
        if self.phase == Phase::Stuck { Err("the run is stuck") } else { Ok(()) }
    }

    fn claim(&mut self, worker: WorkerId, lapsed: bool, came_back: &[WorkerId]) -> Result<(), &'static str> {
        self.alive()?;
        let before = self.claimed_by.replace(worker);
        self.interrupt();
        if let Phase::In { step } = self.phase
            && let Some(attempt) = self.steps[step].attempts.last_mut()
        {
            attempt.lost.extend(before.filter(|_| lapsed));
            attempt.lost.retain(|lost| !came_back.contains(lost));
            attempt.yielded = false;
            // Without a slot, the attempt acts as soon as somebody holds the run.
            attempt.acts = self.spec.plan.steps[step].slot.is_none();
        }
        if let Phase::Edge { parked } = &mut self.phase {
            *parked = false;
        }
        Ok(())
    }

    /// Whoever was at the attempt under way is there no more, and nobody recorded how it went.
    fn interrupt(&mut self) {
        if let Phase::In { step } = self.phase
            && let Some(attempt) = self.steps[step].attempts.last_mut()
        {
            attempt.interrupted |= attempt.acts;
        }
    }

    fn start(&mut self, event: &Event) -> Result<(), &'static str> {
        if !matches!(self.phase, Phase::Edge { .. }) {
            return Err("a step begins at an edge");
        }
        if self.epoch == 0 {
            return Err("nobody holds the run");
        }
        let index = event.step.ok_or("it names no step")?;
        if Some(index) != self.upcoming() {
            return Err("this step is not the next one");
        }
        let number = self.steps[index].attempts.len() as u32 + 1;
        if event.attempt != Some(number) {
            return Err("its attempt does not follow");
        }
        self.steps[index].attempts.push(AttemptState {
            started_at: event.at,
            ended_at: None,
            failure: None,
            then: None,
            slot: None,
            yielded: false,
            looked: false,
            acts: self.spec.plan.steps[index].slot.is_none(),
            interrupted: false,
            lost: Vec::new(),
            faults: 0,
            grants: 0,
        });
        self.phase = Phase::In { step: index };
        Ok(())
    }

    fn fail(&mut self, event: &Event, failure: &Failure, then: Then) -> Result<(), &'static str> {
        let attempt = self.attempt(event)?;
        attempt.ended_at = Some(event.at);
        attempt.failure = Some(failure.clone());
        attempt.then = Some(then);
        match then {
            Then::Retry => {}
            Then::Warn => {
                let step = self.current(event)?;
                step.warned = true;
                step.warnings.push(failure.message.clone());
            }
            // What stopped the run, a cancel too, stays its reason, whatever a restore then meets.
            Then::Stop if event.step.is_some_and(|step| self.spec.plan.steps[step].only_after_failure) => {}
            Then::Stop => {
                self.stopped.get_or_insert_with(|| failure.clone());
            }
        }
        self.phase = Phase::Edge { parked: false };
        Ok(())
    }

    /// The step that this event speaks of, if it is the one under way.
    fn current(&mut self, event: &Event) -> Result<&mut StepState, &'static str> {
        let index = event.step.ok_or("it names no step")?;
        self.steps.get_mut(index).ok_or("the plan has no such step")
    }

    fn attempt(&mut self, event: &Event) -> Result<&mut AttemptState, &'static str> {
        let Phase::In { step } = self.phase else { return Err("no step is under way") };
        if event.step != Some(step) {
            return Err("another step is under way");
        }
        let attempts = &mut self.steps[step].attempts;
        if event.attempt != Some(attempts.len() as u32) {
            return Err("another attempt is under way");
        }
        attempts.last_mut().ok_or("the step has no attempt")
    }
}
