//! What Pods read: the ConfigMap of their variables, the Secret of those that are secret, and the registry's login. The names say which content; of secrets, which
//! immutable version: no name tells anything of a secret's text.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::secrets::Secret;
use serde_json::{Map, Value, json};

use super::Goal;
use crate::{
    k8s::objects::{Id, Kind},
    service::Authorization,
};

/// The variable that holds the keys of those who may query, one a line.
pub(in crate::k8s) const KEYS: &str = "SLIPWAY_SERVICE_KEYS";
/// The variable that holds the key of the query log's destination.
pub(in crate::k8s) const AUDIT_KEY: &str = "SLIPWAY_AUDIT_KEY";

/// The ConfigMap's name; None if there are no variables.
pub(in crate::k8s) fn variables_name(goal: &Goal<'_>) -> Option<String> {
    let env = &goal.workload.env;
    (!env.is_empty()).then(|| goal.names.with("env", &json!(env).to_string()))
}

/// The ConfigMap.
pub(in crate::k8s) fn variables(goal: &Goal<'_>) -> Option<Value> {
    let metadata = goal.metadata(&variables_name(goal)?);
    let data = &goal.workload.env;
    Some(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": true, "data": data}))
}

/// The secret variables, each with the references of what it is made of.
pub(in crate::k8s) fn secret_variables(goal: &Goal<'_>) -> Vec<(String, Vec<String>)> {
    let of_settings = goal.workload.secret_env.iter().filter_map(|variable| {
        let value = variable.value.as_ref()?;
        Some((variable.name.clone(), vec![value.id.clone()]))
    });
    let mut all: Vec<_> = of_settings.filter(|(name, _)| !matches!(name.as_str(), KEYS | AUDIT_KEY)).collect();
    if let Some(Authorization::ApiKeys { keys }) = &goal.service.authorization {
        all.push((KEYS.to_owned(), keys.iter().map(|key| key.id.clone()).collect()));
    }
    if let Some(key) = goal.service.auditing.as_ref().and_then(|auditing| auditing.container_secret()) {
        all.push((AUDIT_KEY.to_owned(), vec![key.id.clone()]));
    }
    all
}

/// The Secret's name; None if no variable is secret.
pub(in crate::k8s) fn secret_variables_name(goal: &Goal<'_>) -> Option<String> {
    let all = secret_variables(goal);
    (!all.is_empty()).then(|| goal.names.with("secret", &json!(all).to_string()))
}

/// The Secret, with its values.
pub(in crate::k8s) fn secret(goal: &Goal<'_>, values: &[(String, Secret)]) -> Option<Value> {
    let metadata = goal.metadata(&secret_variables_name(goal)?);
    let encoded = |value: &Secret| Value::String(BASE64_STANDARD.encode(value.expose()));
    let data: Map<_, _> = values.iter().map(|(name, value)| (name.clone(), encoded(value))).collect();
    Some(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "immutable": true, "data": data}),
    )
}

/// The name of the Secret with the registry's login; None if the cluster does not get it.
pub(in crate::k8s) fn login_name(goal: &Goal<'_>) -> Option<String> {
    let settings = &goal.settings;
    let user = settings.registry_user.as_deref().filter(|user| !user.is_empty())?;
    let password = settings.registry_password.as_ref().filter(|_| settings.make_pull_secret.unwrap_or(true))?;
    Some(goal.names.with("pull", &json!([settings.registry_host, user, password.id]).to_string()))
}

/// The Secret with the registry's login.
pub(in crate::k8s) fn login(goal: &Goal<'_>, password: &Secret) -> Option<Value> {
    let metadata = goal.metadata(&login_name(goal)?);
    let user = goal.settings.registry_user.as_deref().unwrap_or_default();
    let pair = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
    let auth = json!({"username": user, "password": password.expose(), "auth": pair});
    let config = json!({"auths": {goal.settings.registry_host.as_str(): auth}}).to_string();
    let data = json!({".dockerconfigjson": BASE64_STANDARD.encode(config)});
    let kind = "kubernetes.io/dockerconfigjson";
    Some(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "immutable": true, "data": data}),
    )
}

/// The names of all Secrets that the cluster pulls with.
pub(in crate::k8s) fn pull_secrets(goal: &Goal<'_>) -> Vec<String> {
    goal.settings.image_pull_secrets.iter().cloned().chain(login_name(goal)).collect()
}

/// The Secrets that are ours.
pub(in crate::k8s) fn secret_ids(goal: &Goal<'_>) -> Vec<Id> {
    let names = [secret_variables_name(goal), login_name(goal)].into_iter().flatten();
    names.filter_map(|name| Some(Kind::new("v1", "Secret")?.named(&name))).collect()
}
