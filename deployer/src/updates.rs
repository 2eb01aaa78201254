//! Updates: executions that make deployments so.
//!
//! * [`ask`]: starting, retrying, cancelling, abandoning one. [`idempotency`]: repeated requests.
//! * [`view`]: an update, as one viewer sees it; [`steps`]: its steps; [`waiting`]: what it waits for.
//! * [`list`]: finding them.
//! * [`events`]: its journal and its log, piece by piece.

pub mod ask;
pub mod events;
pub mod idempotency;
pub mod list;
pub mod steps;
pub mod view;
pub mod waiting;

use engine::runs::RunsError;

pub use self::{
    ask::{Accepted, abandon, cancel, retry, start},
    events::{LogLine, UpdateEvent, events, log},
    list::{Filter, by_ids, get, latest_of, list},
    steps::{Attempt, SlotWait, Step, StepStatus, Trouble},
    view::{HookCounts, Update},
    waiting::{Holders, WaitKind, WaitingOn},
};
use crate::error::Error;

impl From<RunsError> for Error {
    fn from(error: RunsError) -> Self {
        match error {
            RunsError::Db(error) => error.into(),
            other => Self::fault(other.to_string()),
        }
    }
}
