//! One write to a run: the events that follow from a folded state, and the projection after them.

use serde::Serialize;

use crate::{
    ids::{RunId, WorkerId},
    journal::{Illegal, Kind, NewEvent, Phase, State},
};

/// A write that is accepted as a whole, or refused because the run moved on.
#[derive(Clone, Debug, Serialize)]
pub struct Op {
    pub(super) run: i64,
    /// Takes the run: the epoch grows.
    pub(super) claim: bool,
    /// Who takes it; None for a claim that only ends the run.
    pub(super) worker: Option<i64>,
    /// The epoch that the writer knows.
    pub(super) epoch: i64,
    /// The newest event that the writer knows.
    pub(super) seq: i64,
    pub(super) n: i64,
    pub(super) status: &'static str,
    pub(super) step: Option<i64>,
    pub(super) attempt: i64,
    /// From the database's now, in microseconds; None is at once.
    pub(super) wake_in: Option<i64>,
    pub(super) release: bool,
    pub(super) ended: bool,
    pub(super) cancelled_by: Option<String>,
    pub(super) events: Vec<RowEvent>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RowEvent {
    kind: String,
    step: Option<usize>,
    attempt: Option<u32>,
    /// JSON as text, so that it is stored as it was written.
    data: String,
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
