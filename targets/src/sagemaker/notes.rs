//! What a run remembers of the account, as notes in its journal.

use engine::failure::{Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use crate::managed::notes::{read, write};
use crate::target::VersionShare;

/// [`Prior`]: what the endpoint was before this run changed it. Written once.
pub(super) const PRIOR: &str = "sagemaker/prior";
/// [`Pushed`]: what push made ready.
pub(super) const PUSHED: &str = "sagemaker/pushed";
/// [`Intent`]: the move of the endpoint to this run's configuration.
pub(super) const MOVE: &str = "sagemaker/move";
/// The same back to what was before.
pub(super) const RESTORE: &str = "sagemaker/restore";

/// Where images of models lie that a deletion took away.
pub(super) const REPOSITORIES: &str = "sagemaker/repositories";

/// The endpoint before this run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    /// Its configuration, if it served one.
    pub(super) config: Option<String>,
    /// The versions in it.
    #[serde(default)]
    pub(super) versions: Vec<VersionShare>,
    /// Where there was none: the endpoints of ours under earlier names. None where nobody looked.
    #[serde(default)]
    pub(super) others: Option<Vec<String>>,
}

/// What is ready to be made live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pushed {
    /// The configuration.
    pub(super) config: String,
    /// The image of each version, by digest, in the order of the spec's versions.
    pub(super) images: Vec<String>,
}

/// A call that moves an endpoint, durable before it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) endpoint: String,
    pub(super) config: String,
    /// When the endpoint had been modified last; null when there was none.
    pub(super) before: Value,
    /// Since when nobody hears the call any more, by the database's clock.
    #[serde(default)]
    pub(super) lost_at: Option<i64>,
    #[serde(default)]
    pub(super) end: Option<End>,
}

/// How such a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum End {
    /// SageMaker took it, and is at it.
    Taken,
    /// SageMaker did not take it.
    Refused,
    /// The endpoint serves the configuration.
    Done,
    /// It does not, and won't.
    Failed,
}

impl Intent {
    /// Whether nobody knows what becomes of it.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.end, None | Some(End::Taken))
    }
}

/// What we must mend.
pub(super) fn internal(detail: String) -> Failure {
    Failure::new(Code::new("INTERNAL"), "Something went wrong inside Slipway.").detail(detail)
}

/// Whether these notes tell of a move whose end nobody knows.
pub(super) fn is_in_flight(note: &dyn Fn(&str) -> Option<Value>) -> bool {
    let open = |key: &str| {
        let intent = note(key).and_then(|value| serde_json::from_value::<Intent>(value).ok());
        intent.is_some_and(|intent| intent.is_open())
    };
    open(MOVE) || open(RESTORE)
}
