//! The frozen copy of what one run deploys. It is event 1's data, and it never changes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Plan;

/// What one run does, for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The steps.
    pub plan: Plan,
    /// The login that asked.
    pub requester: String,
    /// What the steps work on; the engine does not look inside. Secrets and hook code stand here by reference to an immutable version.
    pub body: Value,
    /// The run whose recorded pre-hooks and notes this one inherits (`retryUpdate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<crate::ids::RunId>,
}
