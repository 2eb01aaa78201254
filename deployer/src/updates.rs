//! Updates: executions that make deployments so.
//!
//! * [`ask`]: starting, retrying, cancelling, abandoning one; `purpose`: what for; `restore`: putting back what was live before. [`idempotency`]: repeated requests.
//! * [`kind`]: what kinds of update there are.
//! * [`view`]: an update, as one viewer sees it; [`steps`]: its steps; [`waiting`]: what it waits for.
//! * [`mod@list`]: finding them; [`brief`]: at a glance, without their journals; [`mod@frozen`]: what was frozen at the request;
//!   [`mod@of_deployments`]: those of many deployments at once.
//! * [`unseen`]: cancels that no worker is left to see.
//! * [`tail`]: what a process reads once for all who follow.
//! * [`mod@events`]: its journal and its log, piece by piece.

pub mod ask;
pub mod brief;
pub mod events;
pub mod frozen;
pub mod idempotency;
pub mod kind;
pub mod list;
pub mod nodes;
pub mod of_deployments;
pub(crate) mod purpose;
mod restore;
pub mod steps;
pub mod tail;
pub mod unseen;
pub mod view;
pub mod waiting;

use engine::runs::RunsError;

pub use self::{
    ask::{Accepted, abandon, cancel, deploy, disable, enable, restore, retry, start},
    brief::{Brief, briefs, latest_briefs},
    events::{LogLine, UpdateEvent, events, events_of, log, log_of},
    frozen::{Frozen, frozen},
    kind::UpdateType,
    list::{Filter, at, by_ids, get, latest_of, list},
    nodes::{NodeStatus, UpdatedNode},
    of_deployments::of_deployments,
    steps::{Attempt, SlotWait, Step, StepStatus, Trouble},
    unseen::Unseen,
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
