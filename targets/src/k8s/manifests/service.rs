//! The Service: one name and one port for all Pods.

use serde_json::{Value, json};

use super::{Goal, pods::NODE_PORT};
use crate::k8s::{
    names::{OWNER, is_own},
    settings::ExpositionType,
};

pub(in crate::k8s) fn manifest(goal: &Goal<'_>) -> Result<Value, String> {
    let params = &goal.exposition.params;
    let mut metadata = goal.metadata(&goal.names.base);
    // With an Ingress in front, the annotations are the Ingress's.
    if goal.exposition.kind != ExpositionType::Ingress {
        annotate(goal, &mut metadata)?;
    }
    let mut port = json!({"name": "http", "port": goal.port(), "targetPort": NODE_PORT, "protocol": "TCP"});
    let kind = match goal.exposition.kind {
        ExpositionType::NodePort => {
            if let Some(node_port) = params.node_port {
                port["nodePort"] = json!(node_port);
            }
            "NodePort"
        }
        ExpositionType::LoadBalancer => "LoadBalancer",
        _ => "ClusterIP",
    };
    let mut spec = json!({"type": kind, "ports": [port], "selector": {OWNER: goal.names.owner}});
    if goal.exposition.kind == ExpositionType::LoadBalancer && !params.source_ranges.is_empty() {
        spec["loadBalancerSourceRanges"] = json!(params.source_ranges);
    }
    Ok(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
}

/// Adds the exposition's annotations, with their variables replaced.
pub(super) fn annotate(goal: &Goal<'_>, metadata: &mut serde_json::Map<String, Value>) -> Result<(), String> {
    let mut given = goal.exposition.params.annotations.clone();
    given.retain(|name, _| !is_own(name));
    let replaced =
        goal.variables().replace_all(&given).map_err(|error| format!("An annotation of the exposition {error}."))?;
    if let Some(Value::Object(own)) = metadata.get_mut("annotations") {
        own.extend(replaced);
    }
    Ok(())
}
