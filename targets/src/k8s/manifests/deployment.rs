//! The Deployment: replaced Pod by Pod, so that queries are always answered.

use serde_json::{Value, json};

use super::{Goal, annotations, pods};
use crate::k8s::names::{OWNER, VERSIONS};

/// The Deployment. `live` is how many Pods it has now, where it is there.
pub(in crate::k8s) fn manifest(goal: &Goal<'_>, image: &str, live: Option<u64>) -> Value {
    let (template, _) = pods::template(goal, image);
    let mut metadata = goal.metadata(&goal.names.base);
    let mut noted = annotations(&goal.workload.annotations);
    noted.insert(VERSIONS.to_owned(), json!(versions(goal)));
    if let Some(Value::Object(own)) = metadata.get_mut("annotations") {
        own.extend(noted);
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas(goal, live),
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": goal.workload.progress_deadline(),
            "selector": {"matchLabels": {OWNER: goal.names.owner}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template,
        },
    })
}

/// As many as the settings say; with autoscaling, as many as there are: an apply that leaves the field out would set it to 1, and end Pods under load.
fn replicas(goal: &Goal<'_>, live: Option<u64>) -> u64 {
    match goal.workload.scaling() {
        None => goal.workload.replicas.unwrap_or(1).into(),
        Some(scaling) => {
            let (least, most) = (scaling.least().into(), scaling.most().max(scaling.least()).into());
            live.filter(|live| *live > 0).unwrap_or(least).clamp(least, most)
        }
    }
}

/// `v1=0.25 v2=0.75`.
pub(in crate::k8s) fn versions(goal: &Goal<'_>) -> String {
    let all: Vec<_> = goal.service.versions.iter().map(|one| format!("{}={}", one.version, one.probability)).collect();
    all.join(" ")
}
