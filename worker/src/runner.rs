//! Drives a held run: fold, next, do, append. There is no other way through, and no special case for recovery.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, resume_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use engine::{
    failure::{Code, Failure, StepError, StepResult},
    journal::{
        Kind, NewEvent, Next, follow,
        outcome::{self, Settled},
    },
    leases::Lease,
    plan::{PlannedStep, SlotDemand},
    slots::{Demand, Place, Slots},
    store::Store,
};
use futures_util::FutureExt;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    doer::Doer,
    held::{Held, Lost},
    needs,
};

/// The code of an attempt that took longer than its policy allows.
pub const STEP_DEADLINE_EXCEEDED: Code = Code::new("STEP_DEADLINE_EXCEEDED");

/// How long a run that stops may take to leave the node safe.
const CARE: Duration = Duration::from_secs(60);

/// How long a supervisor may take to end a hook whose deadline has passed.
const OUTLAST: Duration = Duration::from_millis(500);

/// Why an attempt is given back.
const STOPPED: &str = "the worker was told to stop";
/// See [`STOPPED`].
const LATE: &str = "no heartbeat was confirmed in time, and its hook was ended";

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
    pub(crate) store: Arc<dyn Store>,
    pub(crate) doer: Arc<dyn Doer>,
    pub(crate) slots: Slots,
    pub(crate) stop: Stop,
    /// How many attempts of this process have a slot.
    pub(crate) slots_held: Gauge,
}

/// Counts a slot until it is dropped.
struct Holding(Gauge);

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Runner {
    /// Goes on until the run rests: it ended, waits with its lease released, or was given back.
    pub(crate) async fn drive(&self, held: &Arc<Held>) -> Result<(), Lost> {
        loop {
            let next = held.next();
            let under_way = held.state().under_way().map(|(step, _)| step);
            let (events, pool) = match (next, under_way) {
                (Next::Resume { step, attempt } | Next::Start { step, attempt }, Some(_)) => {
                    let planned = held.state().spec.plan.steps[step].clone();
                    let events = match self.attempt(held, step, attempt, &planned).await? {
                        Ended::Outcome(result) => self.settle(held, step, attempt, &planned, result).await?,
                        Ended::Interrupted(why) => vec![NewEvent::run(Kind::released(why))],
                    };
                    (events, planned.slot.map(|slot| slot.pool))
                }
                (Next::Nothing, _) => return Ok(()),
                // What a claim left for us to do: it stops here, or begins its next step.
                _ => (Vec::new(), None),
            };
            self.care(held, &events).await?;
            let events = self.edge(held, events);
            let rests = events.iter().any(|event| {
                matches!(event.kind, Kind::LeaseReleased { .. } | Kind::Parked { .. } | Kind::StepYielded { .. })
            });
            held.append(events).await?;
            if let Some(pool) = pool {
                self.slots.freed(&pool);
            }
            if rests {
                return Ok(());
            }
        }
    }

    /// A run that stops between two states of the node, and leaves it so: what is off because of us is switched on again where that is safe,
    /// and what stays off is said.
    async fn care(&self, held: &Arc<Held>, events: &[NewEvent]) -> Result<(), Lost> {
        let state = held.state().clone();
        let cancelled = state.cancelled_by.is_some() || held.cancel_to_record().is_some();
        let released = events.iter().any(|event| matches!(event.kind, Kind::LeaseReleased { .. }));
        if !cancelled || released || !state.changed_midway() {
            return Ok(());
        }
        for step in state.midway() {
            let attempt = state.steps[step].attempts.len() as u32;
            let context = Context::new(Arc::clone(held), step, attempt, state.spec.plan.steps[step].clone());
            if let Some(off) = self.leave_safe(&context).await? {
                held.log(step, attempt, "STEP", false, off).await;
            }
        }
        Ok(())
    }

    /// Bounded, and given up with the lease.
    async fn leave_safe(&self, context: &Context) -> Result<Option<String>, Lost> {
        let lease = &context.held.lease;
        tokio::select! {
            biased;
            () = lease.lost.cancelled() => Err(Lost),
            () = self.stop.now.cancelled() => Ok(Some("Scenarios may have been left off.".to_owned())),
            off = guarded(lease, self.doer.leave_safe(context)) => off?,
            () = tokio::time::sleep(CARE) => Ok(Some("Scenarios may have been left off: the node did not answer.".to_owned())),
        }
    }

    /// The outcome's events, a cancel that is not in the journal yet, and what follows.
    fn edge(&self, held: &Held, events: Vec<NewEvent>) -> Vec<NewEvent> {
        let cancel = held.cancel_to_record();
        let drain = self.stop.drain.is_cancelled().then_some("the worker drains");
        let state = held.state().clone();
        follow::edge(&state, state.epoch, events, cancel.as_deref(), drain)
    }

    /// One attempt: its slot, then its effect.
    async fn attempt(&self, held: &Arc<Held>, step: usize, attempt: u32, planned: &PlannedStep) -> Result<Ended, Lost> {
        if let Some(slot) = &planned.slot {
            let context = Context::new(Arc::clone(held), step, attempt, planned.clone());
            if let Some(elsewhere) = needs::elsewhere(&*self.store, &*self.doer, &context).await {
                return Ok(Ended::Outcome(elsewhere));
            }
            match self.wait_for_slot(held, step, attempt, slot).await? {
                Line::Granted => {}
                Line::Ended(ended) => return Ok(ended),
            }
        }
        let context = Context::new(Arc::clone(held), step, attempt, planned.clone());
        if planned.slot.is_some() {
            self.slots_held.inc();
            let _holding = Holding(self.slots_held.clone());
            // A hook ends by itself, on a cancel, at its deadline, when the worker stops: only then no process of it is left.
            let demand = demand(held, step, attempt, planned.slot.as_ref());
            let stop = self.stop.now.child_token();
            let (cancel, lost) = (held.cancel.clone(), held.lease.lost.clone());
            let any = stop.clone();
            let watch = tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => any.cancel(),
                    () = lost.cancelled() => any.cancel(),
                    () = any.cancelled() => {}
                }
            });
            let hook = AssertUnwindSafe(self.doer.hook(&context, planned, &self.slots, &demand, stop)).catch_unwind();
            let result = hook.await;
            watch.abort();
            let result = match result {
                Ok(result) => result,
                Err(panic) => {
                    // Nobody is left to hear from its supervisor that no process is left: the slot stays ours until the deadline that the
                    // supervisor was fed last has passed for certain.
                    outlast(&held.lease).await;
                    resume_unwind(panic)
                }
            };
            // Whoever sees the end sees all lines before it.
            held.flush_log().await;
            if held.lease.lost.is_cancelled() {
                return Err(Lost);
            }
            return Ok(match result {
                Err(StepError::Cancelled) if !held.cancel.is_cancelled() => Ended::Interrupted(STOPPED),
                // Its supervisor ended it while no heartbeat came through; now one has. The run is not to blame.
                Err(StepError::LeaseLost) if !held.lease.is_over() => Ended::Interrupted(LATE),
                result => Ended::Outcome(result),
            });
        }
        let left = self.time_left(held, planned).await;
        tokio::select! {
            biased;
            () = held.lease.lost.cancelled() => Err(Lost),
            () = held.cancel.cancelled(), if !planned.only_after_failure => Ok(Ended::Outcome(Err(StepError::Cancelled))),
            result = guarded(&held.lease, self.doer.perform(&context, planned)) => Ok(Ended::Outcome(result?)),
            () = self.stop.now.cancelled() => Ok(Ended::Interrupted(STOPPED)),
            () = tokio::time::sleep(left) => Ok(Ended::Outcome(Err(self.late(&context, planned)))),
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
                () = self.stop.now.cancelled() => return Ok(Line::Ended(Ended::Interrupted(STOPPED))),
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
                Place::Gone => return Err(Lost),
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
        let settled = outcome::settle(&held.state(), step, attempt, result, engine::clock::chance());
        let mut failure = match settled {
            Settled::Events(events) => {
                for event in &events {
                    if let Kind::StepFailed { failure, then } = &event.kind {
                        let step = planned.name.as_str();
                        tracing::info!(run.id = %held.run, step, attempt, code = %failure.code, then = ?then, "an attempt failed");
                    }
                }
                return Ok(events);
            }
            Settled::Lost => return Err(Lost),
            Settled::GivesUp(failure) => failure,
        };
        tracing::info!(run.id = %held.run, step = planned.name, attempt, code = %failure.code, "a step failed for good");
        let context = Context::new(Arc::clone(held), step, attempt, planned.clone());
        if held.state().changed_midway()
            && let Some(more) = self.leave_safe(&context).await?
        {
            failure.message = format!("{} {more}", failure.message);
        }
        Ok(outcome::given_up(&held.state(), step, attempt, failure))
    }
}

impl Runner {
    /// How much of the attempt's time is left, whoever began it.
    async fn time_left(&self, held: &Held, planned: &PlannedStep) -> Duration {
        let deadline = Duration::from_millis(planned.policy.deadline_ms);
        let started = held.state().under_way().map(|(_, attempt)| attempt.started_at);
        let (Some(started), Ok(now)) = (started, self.store.now().await) else { return deadline };
        deadline.saturating_sub(Duration::from_micros(u64::try_from(now - started).unwrap_or(0)))
    }

    /// The failure of an attempt that took too long.
    fn late(&self, context: &Context, planned: &PlannedStep) -> StepError {
        let seconds = planned.policy.deadline_ms / 1_000;
        let failure = Failure::new(
            STEP_DEADLINE_EXCEEDED,
            format!(
                "Step {} took longer than its {seconds} s. Look at the node, or raise the step's deadline.",
                planned.name
            ),
        );
        // The call that it waited for may still go on at the node.
        let failure = if self.doer.is_in_flight(context) { failure.outcome_unknown() } else { failure };
        failure.retryable(None)
    }
}

/// Waits until hooks that were begun under this lease have been ended by their supervisors, heard of or not.
async fn outlast(lease: &Lease) {
    let until = *lease.hooks_until.borrow();
    let left = until.saturating_sub(engine::clock::boottime_nanos());
    let left = Duration::from_nanos(u64::try_from(left).unwrap_or(0)) + OUTLAST;
    tokio::select! {
        biased;
        () = lease.lost.cancelled() => {}
        () = tokio::time::sleep(left) => {}
    }
}

/// What became of an attempt.
enum Ended {
    Outcome(StepResult),
    /// The attempt goes on elsewhere, or later, for this reason.
    Interrupted(&'static str),
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

/// Polls a step only while this process may count on its lease: one that wakes from a pause stops before it acts, not after.
async fn guarded<F: Future>(lease: &Lease, step: F) -> Result<F::Output, Lost> {
    let mut step = pin!(step);
    poll_fn(|context| {
        if lease.is_over() {
            return Poll::Ready(Err(Lost));
        }
        step.as_mut().poll(context).map(Ok)
    })
    .await
}
