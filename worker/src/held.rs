//! A run that this worker holds: its folded journal, and the one way to add to it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use engine::{
    ids::RunId,
    journal::{NewEvent, Next, State},
    leases::Lease,
    runs::{Answer, LogWriter, NewLogLine, Op, Writer},
};
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

/// This worker must not write the run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// A held run.
pub(crate) struct Held {
    pub(crate) run: RunId,
    pub(crate) row: entities::run::Model,
    pub(crate) lease: Lease,
    /// Fires when somebody asked to cancel.
    pub(crate) cancel: CancellationToken,
    state: Mutex<State>,
    cancel_by: Mutex<Option<String>>,
    writer: Writer,
    log: LogWriter,
    log_number: AtomicI64,
    /// Writes that came too late.
    refused: Counter,
    /// One write at a time: the next one builds on the answer.
    turn: tokio::sync::Mutex<()>,
}

impl Held {
    /// Takes the run, with `events` as the first under the new epoch. None when it is not to be had.
    pub(crate) async fn claim(
        loaded: engine::runs::Loaded,
        events: Vec<NewEvent>,
        lease: Lease,
        writer: Writer,
        log: LogWriter,
        refused: Counter,
    ) -> Option<Arc<Self>> {
        let run = RunId(loaded.row.id);
        let op = match Op::claim(run, &loaded.state, lease.worker, &events) {
            Ok(op) => op,
            Err(error) => {
                tracing::error!(run.id = %run, error = %error, "a claim that cannot follow from the journal");
                return None;
            }
        };
        let held = Self {
            run,
            row: loaded.row,
            lease,
            cancel: CancellationToken::new(),
            state: Mutex::new(loaded.state),
            cancel_by: Mutex::default(),
            writer,
            log,
            log_number: AtomicI64::new(0),
            refused,
            turn: tokio::sync::Mutex::default(),
        };
        held.write(op, &events).await.ok()?;
        Some(Arc::new(held))
    }

    /// The fold as it stands.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asked to cancel, if that is not in the journal yet.
    pub(crate) fn cancel_to_record(&self) -> Option<String> {
        if self.state().cancelled_by.is_some() {
            return None;
        }
        self.cancel_by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Somebody asked to cancel.
    pub(crate) fn ask_to_cancel(&self, login: &str) {
        self.cancel_by.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| login.to_owned());
        self.cancel.cancel();
    }

    /// Adds events. Made by a task of its own, so that a step that is dropped in the middle of a write cannot leave the fold behind the
    /// journal.
    pub(crate) async fn append(self: &Arc<Self>, events: Vec<NewEvent>) -> Result<(), Lost> {
        let held = Arc::clone(self);
        let write = tokio::spawn(async move {
            let _turn = held.turn.lock().await;
            let op = Op::append(held.run, &held.state(), &events);
            match op {
                Ok(op) => held.write(op, &events).await,
                Err(error) => {
                    tracing::error!(run.id = %held.run, error = %error, "an append that cannot follow from the journal");
                    Err(Lost)
                }
            }
        });
        write.await.unwrap_or(Err(Lost))
    }

    async fn write(&self, op: Op, events: &[NewEvent]) -> Result<(), Lost> {
        let claim = op.claim;
        let answer = tokio::select! {
            biased;
            () = self.lease.lost.cancelled() => return Err(Lost),
            answer = self.writer.write(op) => answer,
        };
        let Answer::Accepted { epoch, seq, at, cancel_by } = answer else {
            // A claim that loses is no loss: it is counted by whoever tried.
            self.refused.inc_by(u64::from(!claim));
            return Err(Lost);
        };
        let first = seq - events.len() as i64 + 1;
        let mut state = self.state();
        for (seq, event) in (first..).zip(events) {
            if let Err(error) = state.apply(&event.dated(seq, epoch, at)) {
                tracing::error!(run.id = %self.run, error = %error, "what was just written does not fold");
                return Err(Lost);
            }
        }
        drop(state);
        if let Some(login) = cancel_by {
            self.ask_to_cancel(&login);
        }
        Ok(())
    }

    /// Hands a line to the log.
    pub(crate) async fn log(&self, step: usize, attempt: u32, stream: &'static str, admins_only: bool, line: String) {
        let number = self.log_number.fetch_add(1, Ordering::Relaxed) + 1;
        let epoch = self.state().epoch;
        let (step, attempt) = (Some(step), Some(attempt));
        self.log.write(NewLogLine { run: self.run, epoch, number, step, attempt, stream, admins_only, line }).await;
    }

    /// Waits until all lines that were handed over are in the database, or were given up.
    pub(crate) async fn flush_log(&self) {
        self.log.flush().await;
    }

    /// What comes next by the journal.
    pub(crate) fn next(&self) -> Next {
        self.state().next()
    }
}
