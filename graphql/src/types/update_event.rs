//! Events and log lines of updates.

use async_graphql::SimpleObject;
use deployer::updates::events;

use super::{
    enums::UpdateStatus,
    step::{Failure, Holders},
};
use crate::scalars::{DateTime, Long};

/// One entry of an update's journal.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UpdateEvent {
    /// From 1, without a gap. What `afterSeq` names.
    seq: Long,
    /// When.
    at: DateTime,
    /// What happened: Requested, Claimed, StepStarted, SlotWaiting, SlotGranted, SlotTimedOut, StepNoted, StepSucceeded, StepYielded, StepFailed, Parked,
    /// LeaseReleased, CancelRequested, Stuck, Abandoned or Finished. A later version may add more.
    kind: String,
    /// The step's index.
    step: Option<usize>,
    /// The step's name, such as `push_bundle` or `pre_hooks/1`.
    step_name: Option<String>,
    /// The attempt, from 1.
    attempt: Option<u32>,
    /// How the update ended.
    status: Option<UpdateStatus>,
    /// Why something failed.
    failure: Option<Failure>,
    /// Another attempt follows.
    retried: bool,
    /// The pool of a slot.
    pool: Option<String>,
    /// Who held the slots.
    holders: Option<Holders>,
    /// How long a wait is, or was, in milliseconds.
    wait_ms: Option<Long>,
    /// What a step warned of.
    warnings: Vec<String>,
    /// Who asked for it: a login.
    by: Option<String>,
}

impl From<events::UpdateEvent> for UpdateEvent {
    fn from(event: events::UpdateEvent) -> Self {
        Self {
            seq: event.seq.into(),
            at: event.at.into(),
            kind: event.kind.to_owned(),
            step: event.step,
            step_name: event.step_name,
            attempt: event.attempt,
            status: event.status.map(Into::into),
            failure: event.failure.map(Into::into),
            retried: event.retried,
            pool: event.pool,
            holders: event.holders.map(Into::into),
            wait_ms: event.wait_ms.map(Into::into),
            warnings: event.warnings,
            by: event.by,
        }
    }
}

/// One line that a hook, a step or a node said. Secrets are masked.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct LogLine {
    /// Grows; may have gaps. What `afterSeq` names.
    seq: Long,
    /// When.
    at: DateTime,
    /// The step's index.
    step: Option<usize>,
    /// The attempt, from 1.
    attempt: Option<u32>,
    /// STEP, STDOUT, STDERR or TRACEBACK.
    stream: String,
    /// Only administrators of the infrastructure see it.
    admins_only: bool,
    /// The text, at most 8 KiB.
    line: String,
}

impl From<events::LogLine> for LogLine {
    fn from(line: events::LogLine) -> Self {
        let events::LogLine { seq, at, step, attempt, stream, admins_only, line } = line;
        Self { seq: seq.into(), at: at.into(), step, attempt, stream, admins_only, line }
    }
}
