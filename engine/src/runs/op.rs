//! One write to a run: the events that follow from a folded state, and the projection after them.

use serde::Serialize;

use crate::{
    ids::{RunId, WorkerId},
    journal::{Illegal, Kind, NewEvent, Phase, State},
};

/// A write that is accepted as a whole, or refused because the run moved on.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Op {
    /// The run.
    pub run: i64,
    /// Takes the run: the epoch grows.
    pub claim: bool,
    /// Who takes it; None for a claim that only ends the run.
    pub worker: Option<i64>,
    /// The epoch that the writer knows.
    pub epoch: i64,
    /// The newest event that the writer knows.
    pub seq: i64,
    /// How many events follow.
    pub n: i64,
    /// The projection after them; likewise step and attempt.
    pub status: &'static str,
    /// See `status`.
    pub step: Option<i64>,
    /// See `status`.
    pub attempt: i64,
    /// From the database's now, in microseconds; None is at once.
    pub wake_in: Option<i64>,
    /// Nobody holds the run after it.
    pub release: bool,
    /// The run has ended after it.
    pub ended: bool,
    /// Who asked to cancel, as the journal knows it after these events.
    pub cancelled_by: Option<String>,
    /// The events.
    pub events: Vec<RowEvent>,
}

/// An event as it is stored; the database gives number, time and epoch.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RowEvent {
    /// Its name.
    pub kind: String,
    /// The step it speaks of.
    pub step: Option<usize>,
    /// The attempt it speaks of.
    pub attempt: Option<u32>,
    /// JSON as text, so that it is stored as it was written.
    pub data: String,
}

impl Op {
    /// What the holder of the run writes.
    ///
    /// # Errors
    /// [`Illegal`] when the events cannot follow from the state: a bug of the caller, found before it reaches the database.
    pub fn append(run: RunId, state: &State, events: &[NewEvent]) -> Result<Self, Illegal> {
        Self::new(run, state, None, false, events)
    }

    /// A worker takes the run and writes the first events under its new epoch. `events` begins with `Claimed`.
    ///
    /// # Errors
    /// As [`Op::append`].
    pub fn claim(run: RunId, state: &State, worker: WorkerId, events: &[NewEvent]) -> Result<Self, Illegal> {
        Self::new(run, state, Some(worker), true, events)
    }

    /// Whoever asks ends a run that nobody holds.
    ///
    /// # Errors
    /// As [`Op::append`].
    pub fn end(run: RunId, state: &State, events: &[NewEvent]) -> Result<Self, Illegal> {
        Self::new(run, state, None, true, events)
    }

    fn new(
        run: RunId,
        state: &State,
        worker: Option<WorkerId>,
        claim: bool,
        events: &[NewEvent],
    ) -> Result<Self, Illegal> {
        let mut after = state.clone();
        let epoch = state.epoch + i64::from(claim);
        for event in events {
            after.apply(&event.dated(after.seq + 1, epoch, 0))?;
        }
        let (step, attempt) = after.position();
        let wake_in = events.iter().find_map(|event| event.kind.rests_us());
        let release = events.iter().any(|event| {
            matches!(
                event.kind,
                Kind::Parked { .. }
                    | Kind::StepYielded { .. }
                    | Kind::LeaseReleased { .. }
                    | Kind::Stuck { .. }
                    | Kind::Finished { .. }
            )
        });
        let unwritable =
            |event: &NewEvent| Illegal { seq: state.seq + 1, kind: event.kind.name(), why: "it cannot be written" };
        let rows = events.iter().map(|event| {
            let (kind, data) = event.kind.to_row().map_err(|_| unwritable(event))?;
            Ok(RowEvent { kind, step: event.step, attempt: event.attempt, data })
        });
        Ok(Self {
            run: run.0,
            claim,
            worker: worker.map(|worker| worker.0),
            epoch: state.epoch,
            seq: state.seq,
            n: events.len() as i64,
            status: after.status().as_str(),
            step,
            attempt,
            wake_in,
            release,
            ended: matches!(after.phase, Phase::Ended { .. }),
            cancelled_by: after.cancelled_by.clone(),
            events: rows.collect::<Result<_, Illegal>>()?,
        })
    }

    /// The run that this writes.
    pub fn run(&self) -> RunId {
        RunId(self.run)
    }
}
