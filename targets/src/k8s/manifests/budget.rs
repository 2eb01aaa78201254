//! The PodDisruptionBudget.

use serde_json::{Value, json};

use super::Goal;
use crate::k8s::names::OWNER;

pub(in crate::k8s) fn manifest(goal: &Goal<'_>) -> Result<Option<Value>, String> {
    let Some(budget) = goal.workload.budget() else { return Ok(None) };
    let Some(version) = goal.offered.policy() else {
        return Err("The cluster offers no API for disruption budgets.".to_owned());
    };
    let mut spec = json!({"selector": {"matchLabels": {OWNER: goal.names.owner}}});
    // A number is a number there, and a percentage a text. Of both, the API takes one.
    let amount = |text: &str| text.parse::<u32>().map_or_else(|_| json!(text), |number| json!(number));
    match (&budget.min_available, &budget.max_unavailable) {
        (Some(least), _) => spec["minAvailable"] = amount(least),
        (None, Some(most)) => spec["maxUnavailable"] = amount(most),
        (None, None) => spec["maxUnavailable"] = json!(1),
    }
    let metadata = goal.metadata(&goal.names.base);
    Ok(Some(json!({"apiVersion": version, "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec})))
}
