//! The frozen copy of what one run deploys. It is event 1's data, and it never changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ids::RunId, plan::Plan};

/// What one run does, for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The steps.
    pub plan: Plan,
    /// The login that asked.
    pub requester: String,
    /// What the steps work on; the engine does not look inside. Secrets and hook code stand here by reference to an immutable version.
    pub body: Value,
    /// What a retry takes over from the run that it retries (`retryUpdate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherited: Option<Inherited>,
}

/// What a retry need not do again. Every other step looks, and acts where the node differs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inherited {
    /// The run that is retried.
    pub from: RunId,
    /// Outputs of the recorded steps that are not repeated, by name: pre-deployment hooks.
    pub steps: BTreeMap<String, Value>,
    /// The notes of all its steps.
    pub notes: BTreeMap<String, Value>,
}
