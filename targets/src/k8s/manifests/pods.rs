//! The Pods: one container with the service's image.

use serde_json::{Map, Value, json};

use super::{Goal, annotations, config, deployment};
use crate::k8s::names::{OWNER, REVISION, VERSIONS, hash};

/// Where the node in the image listens.
pub(in crate::k8s) const NODE_PORT: u16 = 12_000;
/// What it answers with a success when it can be queried.
const HEALTH: &str = "/isAlive/";
/// The container's name.
pub(in crate::k8s) const CONTAINER: &str = "service";
/// The account that every namespace has.
pub(in crate::k8s) const DEFAULT_ACCOUNT: &str = "default";
/// Between two probes, in seconds.
const PROBE_EVERY: u32 = 5;

/// The template of the Pods, and its revision.
pub(in crate::k8s) fn template(goal: &Goal<'_>, image: &str) -> (Value, String) {
    let mut labels = goal.labels();
    let mut spec = Map::new();
    let workload = &goal.workload;
    let account = workload.service_account_name.as_deref().filter(|name| !name.is_empty());
    // Said in any case: the API server keeps a name that is no longer said, in a field of an older spelling.
    spec.insert("serviceAccountName".into(), json!(account.unwrap_or(DEFAULT_ACCOUNT)));
    // A service that was given no account has no business with the API server.
    spec.insert("automountServiceAccountToken".into(), json!(account.is_some()));
    let secrets = config::pull_secrets(goal);
    if !secrets.is_empty() {
        let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
        spec.insert("imagePullSecrets".into(), json!(secrets));
    }
    let rules = workload.topology_spread.as_deref().unwrap_or_default();
    if !rules.is_empty() {
        let rules: Vec<_> = rules
            .iter()
            .map(|rule| {
                json!({
                    "maxSkew": rule.max_skew,
                    "topologyKey": rule.topology_key,
                    "whenUnsatisfiable": rule.when_unsatisfiable,
                    "labelSelector": {"matchLabels": {OWNER: goal.names.owner}},
                })
            })
            .collect();
        spec.insert("topologySpreadConstraints".into(), json!(rules));
    }
    spec.insert("containers".into(), json!([container(goal, image)]));
    let mut annotations = annotations(&workload.annotations);
    // What a Pod serves, for whoever looks while others come up: its image says it, too.
    annotations.insert(VERSIONS.to_owned(), json!(deployment::versions(goal)));
    let content = json!([labels, annotations, spec]).to_string();
    let revision = hash([content.as_str()], 16);
    labels.insert(REVISION.to_owned(), json!(revision));
    (json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}), revision)
}

fn container(goal: &Goal<'_>, image: &str) -> Value {
    let probe = |failures: u32| {
        json!({
            "httpGet": {"path": HEALTH, "port": NODE_PORT, "scheme": "HTTP"},
            "periodSeconds": PROBE_EVERY, "timeoutSeconds": 5, "failureThreshold": failures,
        })
    };
    // Models take their time to load: until the rollout is over anyway.
    let patience = (goal.workload.progress_deadline() / PROBE_EVERY).max(1);
    let mut container = json!({
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": NODE_PORT, "protocol": "TCP"}],
        "startupProbe": probe(patience),
        "readinessProbe": probe(2),
        "livenessProbe": probe(6),
        "securityContext": {"allowPrivilegeEscalation": false},
    });
    let mut from = Vec::new();
    if let Some(name) = config::variables_name(goal) {
        from.push(json!({"configMapRef": {"name": name}}));
    }
    if let Some(name) = config::secret_variables_name(goal) {
        from.push(json!({"secretRef": {"name": name}}));
    }
    if !from.is_empty() {
        container["envFrom"] = json!(from);
    }
    if let Some(resources) = resources(goal) {
        container["resources"] = resources;
    }
    container
}

fn resources(goal: &Goal<'_>) -> Option<Value> {
    let asked = goal.workload.resources.as_ref()?;
    let of = |cpu: &Option<String>, memory: &Option<String>| {
        let both = [("cpu", cpu), ("memory", memory)];
        let given = both.into_iter().filter_map(|(name, quantity)| Some((name.to_owned(), json!(quantity.as_ref()?))));
        Some(given.collect::<Map<_, _>>()).filter(|map| !map.is_empty())
    };
    let both = [
        ("requests", of(&asked.cpu_request, &asked.memory_request)),
        ("limits", of(&asked.cpu_limit, &asked.memory_limit)),
    ];
    let given = both.into_iter().filter_map(|(name, map)| Some((name.to_owned(), Value::Object(map?))));
    Some(given.collect::<Map<_, _>>()).filter(|map| !map.is_empty()).map(Value::Object)
}
