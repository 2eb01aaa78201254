//! The Ingress: a host and a path in front of the Service.

use serde_json::{Value, json};

use super::{Goal, service::annotate};

/// Host and path, with their variables replaced.
pub(in crate::k8s) fn host_and_path(goal: &Goal<'_>) -> Result<(Option<String>, String), String> {
    let (params, variables) = (&goal.exposition.params, goal.variables());
    let replaced = |text: &Option<String>, what: &str| match text.as_deref().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => {
            variables.replace(text).map(Some).map_err(|error| format!("The {what} of the exposition {error}."))
        }
    };
    let host = replaced(&params.host, "host")?;
    Ok((host, replaced(&params.path, "path")?.unwrap_or_else(|| "/".to_owned())))
}

pub(in crate::k8s) fn manifest(goal: &Goal<'_>) -> Result<Value, String> {
    let params = &goal.exposition.params;
    let (host, path) = host_and_path(goal)?;
    let backend = json!({"service": {"name": goal.names.base, "port": {"number": goal.port()}}});
    let path = json!({"path": path, "pathType": params.path_type.unwrap_or_default(), "backend": backend});
    let mut rule = json!({"http": {"paths": [path]}});
    if let Some(host) = &host {
        rule["host"] = json!(host);
    }
    let mut spec = json!({"rules": [rule]});
    if let Some(class) = params.ingress_class_name.as_deref().filter(|class| !class.is_empty()) {
        spec["ingressClassName"] = json!(class);
    }
    if let Some(secret) = params.tls_secret_name.as_deref().filter(|secret| !secret.is_empty()) {
        let hosts: Vec<_> = host.iter().collect();
        spec["tls"] = if hosts.is_empty() {
            json!([{"secretName": secret}])
        } else {
            json!([{"hosts": hosts, "secretName": secret}])
        };
    }
    let mut metadata = goal.metadata(&goal.names.base);
    annotate(goal, &mut metadata)?;
    Ok(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}))
}
