//! What a run remembers of the cluster, as notes in its journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use crate::managed::notes::{read, write};

/// [`Image`]: what was pushed.
pub(super) const IMAGE: &str = "image";
/// [`Prior`]: what was live before this run changed anything. Written once.
pub(super) const PRIOR: &str = "prior";
/// [`Watch`]: since when a rollout is followed.
pub(super) const ROLLOUT: &str = "rollout";
/// The same of a restore.
pub(super) const RESTORE: &str = "restore";
/// When the objects were told to go, by the database's clock.
pub(super) const GOING: &str = "going";

/// The image of this run's version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Image {
    /// By digest.
    pub(super) reference: String,
}

/// What was live before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Prior {
    /// The manifests that they had been applied with; the Deployment last.
    pub(super) manifests: Vec<Value>,
    /// How many Pods there were.
    pub(super) replicas: Option<u64>,
}

impl Prior {
    /// Whether something could be queried.
    pub(super) fn served(&self) -> bool {
        self.replicas.is_some_and(|replicas| replicas > 0)
    }
}

/// A rollout that is followed. Times are the database's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Watch {
    /// The run that follows it: one that inherits the note follows anew.
    pub(super) run: i64,
    /// Which revision. All its objects are applied.
    pub(super) revision: String,
    /// When it was first looked at.
    pub(super) since: i64,
    /// Since when its Pods fail without a pause.
    #[serde(default)]
    pub(super) failing_since: Option<i64>,
    /// Since when one of its Pods finds no place without a pause.
    #[serde(default)]
    pub(super) unplaced_since: Option<i64>,
    /// What the log was told last.
    #[serde(default)]
    pub(super) said: String,
}

impl Watch {
    /// Of a rollout that begins now.
    pub(super) fn new(run: i64, revision: &str, now: i64) -> Self {
        let said = String::new();
        Self { run, revision: revision.to_owned(), since: now, failing_since: None, unplaced_since: None, said }
    }
}
