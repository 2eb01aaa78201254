//! The plan of a run: data. A list of steps, each with a name, a kind that says who does it, and its policy.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::retry::RetryPolicy;

/// The newest version of the plan language: 2 knows lanes, 3 a quorum. A worker leaves runs of a version that it does not know to those that do.
pub const PLAN_VERSION: u32 = 3;

/// The steps of one run, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of the plan language that it needs, at most [`PLAN_VERSION`].
    pub version: u32,
    /// The steps; indices into this list are what the journal speaks of.
    pub steps: Vec<PlannedStep>,
    /// What a permanent failure or a cancel does inside steps that are marked [`PlannedStep::restorable`].
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Under [`OnFailure::GoOn`] the run goes on only while at least so many lanes can still succeed; None is one. More than there are lanes is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
}

impl Plan {
    /// A plan of the lowest version that can say it, so that workers of the version before know it, too, wherever they can.
    pub fn new(steps: Vec<PlannedStep>, on_failure: OnFailure) -> Self {
        let lanes = on_failure == OnFailure::GoOn || steps.iter().any(|step| step.lane.is_some());
        Self { version: if lanes { 2 } else { 1 }, steps, on_failure, quorum: None }
    }

    /// The same with a quorum, where one means anything: one of 1 is what every plan has.
    #[must_use]
    pub fn with_quorum(mut self, quorum: Option<u32>) -> Self {
        self.quorum = quorum.filter(|least| *least > 1 && self.on_failure == OnFailure::GoOn);
        self.version = self.version.max(if self.quorum.is_some() { 3 } else { 1 });
        self
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Unique within the plan, such as `push_bundle` or `pre_hooks/1`.
    pub name: String,
    /// Who does it: `check_policy`, `hook`, `validate_remap`, `push_bundle`, `activate`, `enforce_run_as`, `verify`, `restore`.
    pub kind: String,
    /// How often, how long apart, how long at most.
    pub policy: StepPolicy,
    /// What the step needs beyond the spec (for a hook: which one). Never a secret.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// A failure for good here is put right by `on_failure: RESTORE`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restorable: bool,
    /// Runs only after such a failure: the step that puts back what was active before. At most one a lane; these are the last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_after_failure: bool,
    /// Needs a slot of this pool before it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<SlotDemand>,
    /// Whether an attempt that was interrupted after it may have acted is run again.
    #[serde(default)]
    pub on_interrupt: OnInterrupt,
    /// A permanent failure of this step is recorded as a warning and the run goes on (post-deployment hooks).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failure_warns: bool,
    /// Which of several places (nodes) it works on; None is none of them, or the only one. Under [`OnFailure::GoOn`] a lane of which a step failed for
    /// good is left out from there on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
}

/// The limits of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPolicy {
    /// Attempts and the time between them.
    pub retry: RetryPolicy,
    /// One attempt may take this long, in milliseconds; then it fails with `STEP_DEADLINE_EXCEEDED`.
    pub deadline_ms: u64,
}

/// A slot that a step needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotDemand {
    /// The pool, such as `hooks`.
    pub pool: String,
    /// The schedule timeout in milliseconds: 10,000 before and 60,000 after a deployment by default.
    pub wait_ms: u64,
}

/// What happens to an attempt that was interrupted after it may have acted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnInterrupt {
    /// Run it again, under the same idempotency key.
    #[default]
    Rerun,
    /// Fail the run with `OUTCOME_UNKNOWN`.
    Fail,
}

/// What a run does when it fails for good after it may have changed the node (or one of its nodes).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnFailure {
    /// Leave the node as it is, and say what it is.
    #[default]
    Leave,
    /// Re-activate what was active before; on each node that was changed, where there are several.
    Restore,
    /// Leave the node that failed as it is, and go on with the others. The run warns; it fails when no node is left, or fewer than [`Plan::quorum`]. With one
    /// node this is [`OnFailure::Leave`].
    GoOn,
}
