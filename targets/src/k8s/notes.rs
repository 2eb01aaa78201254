//! What a run remembers of the cluster, as notes in its journal.

use engine::step::StepContext;
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
    /// The manifests; where an autoscaler had set the number of Pods, with as many as there were, or are now if that is more: under load none ends.
    pub(super) fn scaled(&self, live: Option<u64>) -> Vec<Value> {
        let mut manifests = self.manifests.clone();
        let of_kind = |kind: &str| self.manifests.iter().position(|one| one.get("kind").is_some_and(|of| of == kind));
        if let (Some(autoscaler), Some(deployment)) = (of_kind("HorizontalPodAutoscaler"), of_kind("Deployment"))
            && let Some(pods) = self.replicas.max(live)
        {
            let bound = |key: &str| self.manifests[autoscaler].pointer(&format!("/spec/{key}")).and_then(Value::as_u64);
            let least = bound("minReplicas").unwrap_or(1);
            let most = bound("maxReplicas").unwrap_or(pods).max(least);
            manifests[deployment]["spec"]["replicas"] = pods.clamp(least, most).into();
        }
        manifests
    }

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

    /// Whether this run follows it.
    pub(super) fn is_of(&self, run: &dyn StepContext) -> bool {
        self.run == run.run().0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_autoscalers_number_of_pods_is_kept() {
        let deployment = json!({"kind": "Deployment", "spec": {"replicas": 1}});
        let autoscaler = json!({"kind": "HorizontalPodAutoscaler", "spec": {"minReplicas": 2, "maxReplicas": 10}});
        let of = |manifests: &[&Value], live| {
            let manifests = manifests.iter().copied().cloned().collect();
            Prior { manifests, replicas: Some(6) }.scaled(live)[0]["spec"]["replicas"].clone()
        };
        assert_eq!(of(&[&deployment, &autoscaler], Some(8)), 8);
        assert_eq!(of(&[&deployment, &autoscaler], Some(1)), 6);
        assert_eq!(of(&[&deployment, &autoscaler], Some(99)), 10);
        assert_eq!(of(&[&deployment], Some(8)), 1, "without one, the settings' number");
    }
}
