//! Drives a held run: fold, next, do, append. There is no other way through, and no special case for recovery.

use std::{sync::Arc, time::Duration};

use engine::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    ids::RunId,
    journal::{Kind, NewEvent, Next, Then},
    plan::{PlannedStep, SlotDemand},
    slots::{Demand, Place, Slots},
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    follow::follow,
    held::{Held, Lost},
    steps::Steps,
};

/// The code of an attempt that took longer than its policy allows.
pub const STEP_DEADLINE_EXCEEDED: Code = Code::new("STEP_DEADLINE_EXCEEDED");
/// The code of a run that got no slot in time.
pub const SLOT_TIMED_OUT: Code = Code::new("SLOT_TIMED_OUT");

/// When a worker stops taking steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// No further step begins here.
    pub(crate) drain: CancellationToken,
    /// Steps under way are interrupted, and the run is given back.
    pub(crate) now: CancellationToken,
}

/// What drives a run.
pub(crate) struct Runner {
    pub(crate) steps: Arc<Steps>,
    pub(crate) slots: Slots,
    pub(crate) stop: Stop,
}

impl Runner {
    /// Goes on until the run rests: it ended, waits with its lease released, or was given back.
    pub(crate) async fn drive(&self, held: &Arc<Held>) -> Result<(), Lost> {
        loop {
            let (Next::Resume { step, attempt } | Next::Start { step, attempt }) = held.next() else { return Ok(()) };
            if held.state().under_way().is_none() {
                // Given back at an edge.
                return Ok(());
            }
            let planned = held.state().spec.plan.steps[step].clone();
            let events = match self.attempt(held, step, attempt, &planned).await? {
                Ended::Outcome(result) => self.settle(held, step, attempt, &planned, result).await?,
                Ended::Interrupted => {
                    vec![NewEvent::run(Kind::LeaseReleased { reason: "the worker was told to stop".to_owned() })]
                }
            };
            let events = self.edge(held, events);
            let rests = events.iter().any(|event| {
                matches!(event.kind, Kind::LeaseReleased { .. } | Kind::Parked { .. } | Kind::StepYielded { .. })
            });
            held.append(events).await?;
            if let Some(slot) = &planned.slot {
                self.slots.freed(&slot.pool);
            }
            if rests {
                return Ok(());
            }
        }
    }

    /// The outcome's events, a cancel that is not in the journal yet, and what follows.
    fn edge(&self, held: &Held, mut events: Vec<NewEvent>) -> Vec<NewEvent> {
        let released = events.iter().any(|event| matches!(event.kind, Kind::LeaseReleased { .. }));
        if released {
            return events;
        }
        if let Some(by) = held.cancel_to_record() {
            // Somebody who is not waited for any more: a park or a yield would only delay the end.
            events.retain(|event| !matches!(event.kind, Kind::Parked { .. } | Kind::StepYielded { .. }));
            events.push(NewEvent::run(Kind::CancelRequested { by }));
        }
        let state = held.state().clone();
        let drain = self.stop.drain.is_cancelled().then_some("the worker drains");
        follow(&state, state.epoch, events, drain)
    }

    /// One attempt: its slot, then its effect.
    async fn attempt(&self, held: &Arc<Held>, step: usize, attempt: u32, planned: &PlannedStep) -> Result<Ended, Lost> {
        if let Some(slot) = &planned.slot {
            match self.wait_for_slot(held, step, attempt, slot).await? {
                Line::Granted => {}
                Line::Ended(ended) => return Ok(ended),
            }
        }
        let context = Context::new(Arc::clone(held), step, attempt, planned.clone());
        let deadline = Duration::from_millis(planned.policy.deadline_ms);
        if planned.slot.is_some() {
            // A hook ends by itself, on a cancel, at its deadline, when the worker stops: only then no process of it is left.
            let demand = demand(held, step, attempt, planned.slot.as_ref());
            let stop = self.stop.now.child_token();
            let cancel = held.cancel.clone();
            let both = stop.clone();
            let watch = tokio::spawn(async move {
                tokio::select! { () = cancel.cancelled() => both.cancel(), () = both.cancelled() => {} }
            });
            let result = self.steps.hook(&context, planned, &self.slots, &demand, stop).await;
            watch.abort();
            if held.lease.lost.is_cancelled() {
                return Err(Lost);
            }
            return Ok(match result {
                Err(StepError::Cancelled) if !held.cancel.is_cancelled() => Ended::Interrupted,
                result => Ended::Outcome(result),
            });
        }
        tokio::select! {
            biased;
            () = held.lease.lost.cancelled() => Err(Lost),
            () = held.cancel.cancelled(), if !planned.only_after_failure => Ok(Ended::Outcome(Err(StepError::Cancelled))),
            result = self.steps.perform(&context, planned) => Ok(Ended::Outcome(result)),
            () = self.stop.now.cancelled() => Ok(Ended::Interrupted),
            () = tokio::time::sleep(deadline) => Ok(Ended::Outcome(Err(late(planned)))),
        }
    }

    async fn wait_for_slot(
        &self,
        held: &Arc<Held>,
        step: usize,
        attempt: u32,
        slot: &SlotDemand,
    ) -> Result<Line, Lost> {
        let mut entry = self.slots.enter(demand(held, step, attempt, Some(slot)));
        let mut first = true;
        loop {
            let place = tokio::select! {
                biased;
                () = held.lease.lost.cancelled() => return Err(Lost),
                () = held.cancel.cancelled() => return Ok(Line::Ended(Ended::Outcome(Err(StepError::Cancelled)))),
                () = self.stop.now.cancelled() => return Ok(Line::Ended(Ended::Interrupted)),
                place = async { if first { entry.first().await } else { entry.settled().await } } => place,
            };
            first = false;
            let pool = slot.pool.clone();
            match place {
                Place::Granted { ticket } => {
                    let event = NewEvent::step(step, attempt, Kind::SlotGranted { pool, ticket });
                    held.append(vec![event]).await?;
                    return Ok(Line::Granted);
                }
                Place::Waiting { holders } => {
                    let kind = Kind::SlotWaiting { pool, wait_ms: slot.wait_ms, holders };
                    held.append(vec![NewEvent::step(step, attempt, kind)]).await?;
                }
                Place::TimedOut { waited, holders } => {
                    let holders = holders.iter().map(|run| run.0).collect();
                    return Ok(Line::Ended(Ended::Outcome(Err(StepError::SlotTimeout { pool, waited, holders }))));
                }
                Place::Entering => {}
            }
        }
    }

    /// The events of an outcome.
    async fn settle(
        &self,
        held: &Arc<Held>,
        step: usize,
        attempt: u32,
        planned: &PlannedStep,
        result: StepResult,
    ) -> Result<Vec<NewEvent>, Lost> {
        let event = |kind| NewEvent::step(step, attempt, kind);
        let (failure, stops) = match result {
            Ok(StepOutcome::Done { output, warnings }) => {
                return Ok(vec![event(Kind::StepSucceeded { output, warnings })]);
            }
            Ok(StepOutcome::NotYet { check_in }) => {
                return Ok(vec![event(Kind::StepYielded { check_in_us: micros(check_in) })]);
            }
            Err(StepError::LeaseLost) => return Err(Lost),
            Err(StepError::Cancelled) => return Ok(Vec::new()),
            Err(StepError::SlotTimeout { pool, waited, holders }) => {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                let failure = slot_failure(planned, &pool, waited, holders.len(), is_live(held));
                let holders = holders.into_iter().map(RunId).collect();
                return Ok(vec![
                    event(Kind::SlotTimedOut { pool, waited_ms, holders }),
                    event(Kind::StepFailed { failure, then: Then::Stop }),
                ]);
            }
            Err(StepError::Retryable { failure, retry_after }) => {
                match planned.policy.retry.delay(attempt, retry_after, engine::clock::chance()) {
                    Some(delay) => {
                        tracing::info!(run.id = %held.run, step = planned.name, code = %failure.code, "an attempt failed; another one follows");
                        let failed = event(Kind::StepFailed { failure, then: Then::Retry });
                        return Ok(vec![failed, NewEvent::run(Kind::Parked { delay_us: micros(delay) })]);
                    }
                    None => (failure, true),
                }
            }
            Err(StepError::Permanent(failure)) => (failure, false),
        };
        let tried = if stops && attempt > 1 { format!(" Tried {attempt} times.") } else { String::new() };
        let mut failure = Failure { message: format!("{}{tried}", failure.message), ..failure };
        if planned.failure_warns {
            return Ok(vec![event(Kind::StepFailed { failure, then: Then::Warn })]);
        }
        let context = Context::new(Arc::clone(held), step, attempt, planned.clone());
        if let Some(more) = self.steps.before_giving_up(&context, planned).await? {
            failure.message = format!("{} {more}", failure.message);
        }
        Ok(vec![event(Kind::StepFailed { failure, then: Then::Stop })])
    }
}

/// What became of an attempt.
enum Ended {
    Outcome(StepResult),
    /// The worker stops; the attempt goes on elsewhere.
    Interrupted,
}

/// What became of the wait in line.
enum Line {
    Granted,
    Ended(Ended),
}

fn demand(held: &Held, step: usize, attempt: u32, slot: Option<&SlotDemand>) -> Demand {
    Demand {
        run: held.run,
        epoch: held.state().epoch,
        step: step as i64,
        attempt: i64::from(attempt),
        pool: slot.map(|slot| slot.pool.clone()).unwrap_or_default(),
        wait: Duration::from_millis(slot.map_or(0, |slot| slot.wait_ms)),
    }
}

fn late(planned: &PlannedStep) -> StepError {
    let seconds = planned.policy.deadline_ms / 1_000;
    Failure::new(
        STEP_DEADLINE_EXCEEDED,
        format!(
            "Step {} took longer than its {seconds} s. Look at the node, or raise the step's deadline.",
            planned.name
        ),
    )
    .retryable(None)
}

/// Whether all that changes what runs on the node was done.
fn is_live(held: &Held) -> bool {
    let state = held.state();
    let mut restorable = state.spec.plan.steps.iter().zip(&state.steps).filter(|(planned, _)| planned.restorable);
    restorable.all(|(_, step)| step.output.is_some())
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
