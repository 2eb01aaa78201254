//! What a run remembers of an API node, as notes in its journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use crate::managed::notes::{read, write};

/// [`Prior`]: what answered before this run changed anything. Written once; a run after one that ended between activate and verify inherits it.
pub(super) const PRIOR: &str = "prior";
/// The intent of the import that was begun last.
pub(super) const IMPORT: &str = "import";
/// The intent of the preload that was begun last.
pub(super) const PRELOAD: &str = "preload";
/// The generations that this run preloaded: some nodes don't tell.
pub(super) const PRELOADED: &str = "preloaded";
/// True once unused generations were cleaned up.
pub(super) const CLEANED: &str = "cleaned";
/// True once the service was asked to be made: what is found later is ours.
pub(super) const CREATED: &str = "created";

/// What answered before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Prior {
    /// Whether the service was there.
    pub(super) exists: bool,
    /// Whether it took queries.
    pub(super) enabled: bool,
    /// Which generations were mapped; None when the node does not tell.
    pub(super) mapping: Option<Vec<Share>>,
}

/// A generation's part of the queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Share {
    pub(super) generation: String,
    /// None when the node does not tell.
    pub(super) proba: Option<f64>,
}

/// What the deployment's next run inherits of one that ended between activate and verify.
pub(super) fn inherited(note: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Value)> {
    note(PRIOR).map(|prior| (PRIOR, prior)).into_iter().collect()
}
