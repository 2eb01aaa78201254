//! What a journal is made of.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    failure::Failure,
    ids::{RunId, WorkerId},
    spec::RunSpec,
};

/// One entry of a run's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// From 1, without a gap.
    pub seq: i64,
    /// The database's clock, in microseconds.
    pub at: i64,
    /// The fence under which it was written.
    pub epoch: i64,
    /// The step it speaks of, as an index into the plan.
    pub step: Option<usize>,
    /// The attempt it speaks of, from 1.
    pub attempt: Option<u32>,
    /// What happened.
    pub kind: Kind,
}

/// An entry that is yet to be written: the database gives number, time and epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The step it speaks of.
    pub step: Option<usize>,
    /// The attempt it speaks of.
    pub attempt: Option<u32>,
    /// What happened.
    pub kind: Kind,
}

impl NewEvent {
    /// An event about the whole run.
    pub fn run(kind: Kind) -> Self {
        Self { step: None, attempt: None, kind }
    }

    /// An event about one attempt at one step.
    pub fn step(step: usize, attempt: u32, kind: Kind) -> Self {
        Self { step: Some(step), attempt: Some(attempt), kind }
    }

    /// As the database numbered and dated it.
    pub fn dated(&self, seq: i64, epoch: i64, at: i64) -> Event {
        Event { seq, at, epoch, step: self.step, attempt: self.attempt, kind: self.kind.clone() }
    }
}

/// What happened. Stored as a name and JSON data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data")]
pub enum Kind {
    /// Event 1: somebody asked for this.
    Requested {
        /// What to do.
        spec: Box<RunSpec>,
    },
    /// A worker took the run; the epoch grew by one.
    Claimed {
        /// Who.
        worker: WorkerId,
        /// The one before vanished without giving the run back.
        lapsed: bool,
        /// Those that vanished from this attempt, the one before included, and are seen to have come back: the run did them no harm.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        came_back: Vec<WorkerId>,
    },
    /// An attempt begins.
    StepStarted,
    /// No slot was free: the attempt waits in line.
    SlotWaiting {
        /// The pool.
        pool: String,
        /// How long it will wait, in milliseconds.
        wait_ms: u64,
        /// The runs that hold the slots.
        holders: Vec<RunId>,
    },
    /// The attempt has a slot and may act.
    SlotGranted {
        /// The pool.
        pool: String,
        /// Its place in the line.
        ticket: i64,
    },
    /// No slot came free in time.
    SlotTimedOut {
        /// The pool.
        pool: String,
        /// How long it waited, in milliseconds.
        waited_ms: u64,
        /// The runs that held the slots.
        holders: Vec<RunId>,
    },
    /// A fact made durable inside a step: an intent, a state read before it is changed.
    StepNoted {
        /// Its name.
        key: String,
        /// The fact.
        value: Value,
    },
    /// The step's effect stands.
    StepSucceeded {
        /// For later steps.
        output: Value,
        /// What makes the run WARNING.
        warnings: Vec<String>,
    },
    /// The attempt looks again later; the lease is released until then.
    StepYielded {
        /// How long until then, in microseconds.
        check_in_us: i64,
    },
    /// The attempt failed.
    StepFailed {
        /// Why.
        failure: Failure,
        /// What follows from it.
        then: Then,
    },
    /// A retry waits with the lease released.
    Parked {
        /// How long, in microseconds.
        delay_us: i64,
    },
    /// The worker gives the run back: it drains, or it was told to stop.
    LeaseReleased {
        /// Why, for the operator.
        reason: String,
        /// Something broke, and would break again at once: the run rests for [`FAULT_REST_US`], and it counts like a lost worker.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fault: bool,
    },
    /// Somebody asked to cancel.
    CancelRequested {
        /// Login.
        by: String,
    },
    /// Nobody can tell what is on the node: a human must decide.
    Stuck {
        /// What is known.
        failure: Failure,
    },
    /// An operator gave up a stuck run.
    Abandoned {
        /// Login.
        by: String,
    },
    /// The end.
    Finished {
        /// SUCCEEDED, WARNING, FAILED or CANCELLED.
        status: Status,
        /// Why, unless it succeeded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
}

/// How long a run rests that was given back because something broke, in microseconds.
pub const FAULT_REST_US: i64 = 1_000_000;

/// What follows from a failed attempt, decided when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Then {
    /// Another attempt.
    Retry,
    /// The run goes on, and ends as WARNING.
    Warn,
    /// The run stops here.
    Stop,
}

/// What a run is, at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted; nobody has begun.
    Queued,
    /// A worker is at it, or it waits for one to take it over.
    Running,
    /// Waits for a slot, for the node, or for its next attempt.
    Waiting,
    /// Done.
    Succeeded,
    /// Done, with something to look at.
    Warning,
    /// Not done.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// Needs a human.
    Stuck,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Warning,
        Self::Failed,
        Self::Cancelled,
        Self::Stuck,
    ];

    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Succeeded => "SUCCEEDED",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Stuck => "STUCK",
        }
    }

    /// Nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Warning | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(UnknownStatus)
    }
}

/// A status that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown run status")]
pub struct UnknownStatus;

impl Kind {
    /// A worker takes the run, and nobody has come back.
    pub fn claimed(worker: WorkerId, lapsed: bool) -> Self {
        Self::Claimed { worker, lapsed, came_back: Vec::new() }
    }

    /// A worker gives the run back for no fault of the run.
    pub fn released(reason: impl Into<String>) -> Self {
        Self::LeaseReleased { reason: reason.into(), fault: false }
    }

    /// How long the run rests after this, in microseconds; None when it does not.
    pub fn rests_us(&self) -> Option<i64> {
        match self {
            Self::Parked { delay_us } => Some(*delay_us),
            Self::StepYielded { check_in_us } => Some(*check_in_us),
            Self::LeaseReleased { fault: true, .. } => Some(FAULT_REST_US),
            _ => None,
        }
    }

    /// The name and the JSON data under which it is stored.
    ///
    /// # Errors
    /// Never for the kinds above; the signature is serde's.
    pub fn to_row(&self) -> Result<(String, String), serde_json::Error> {
        let Value::Object(mut row) = serde_json::to_value(self)? else { return Ok((String::new(), String::new())) };
        let name = row.remove("kind").as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let data = row.remove("data").map_or_else(|| Ok("{}".to_owned()), |data| serde_json::to_string(&data))?;
        Ok((name, data))
    }

    /// From what is stored.
    ///
    /// # Errors
    /// A kind that this version does not know, or data of another shape.
    pub fn from_row(name: &str, data: &str) -> Result<Self, serde_json::Error> {
        let data: Value = serde_json::from_str(data)?;
        serde_json::from_value(serde_json::json!({ "kind": name, "data": data }))
            .or_else(|error| serde_json::from_value(serde_json::json!({ "kind": name })).map_err(|_| error))
    }
}
