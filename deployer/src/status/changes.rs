//! What is set otherwise than it was deployed: the spec of the last success, compared with the one that an update would have now. Every field takes
//! part, also such as later versions add, but for those that say how the node is reached or how an update goes about its work.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use targets::{
    spec::{DeploySpec, SecretRef},
    target::Difference,
};

use crate::error::Result;

/// Paths that don't say what is to be on the node.
const NOT_ON_NODE: [&str; 10] = [
    "acting_user",
    "infrastructure.govern_check_policy",
    "infrastructure.governance",
    "infrastructure.permissions_propagation",
    "infrastructure.project_standards_policy",
    "infrastructure.trust_foreign_bundles",
    "package.sha256",
    "package.size",
    "deployment",
    "installation",
];
/// Names within `infrastructure` that say how its node is reached.
const HOW_IT_IS_REACHED: [&str; 5] =
    ["key", "settle_ms", "call_timeout_ms", "trust_all_certificates", "webapp_run_as_field"];
/// Objects that are groups of fields; all others are values.
const GROUPS: [&str; 4] = ["infrastructure", "infrastructure.node", "package", "service"];
/// Maps whose values may be confidential: names only.
const CONFIDENTIAL: [&str; 1] = ["local_variables"];
/// What of an infrastructure everybody sees who sees the deployment.
const SHOWN: [&str; 4] = [
    "infrastructure.node.url",
    "infrastructure.nodes",
    "infrastructure.run_as_scenarios",
    "infrastructure.run_as_webapps",
];
/// What of an API service is told by name only: it may say more than everybody is to know.
const UNTOLD: [&str; 3] = ["service.authorization", "service.auditing", "service.settings"];
/// What of an API service is deployed.
const SERVICE: &str = "service";
/// So many changes are told.
const MOST: usize = 500;

/// What an update would deploy otherwise than the one of `live` did: `found` is as deployed, `wanted` as it is set now. `reach` are the platform's settings that say how
/// it is reached: another key there changes nothing of what is deployed.
///
/// # Errors
/// Faults only.
pub fn changes(live: &DeploySpec, now: &DeploySpec, reach: &[String]) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    let plain = |spec: &DeploySpec| {
        let mut whole = serde_json::to_value(spec)?;
        // Callers' keys, those of a log and those that the platform gets are there themselves.
        let service = whole.get_mut(SERVICE).map(Value::take);
        let settings = whole.pointer_mut("/infrastructure/settings").map(Value::take);
        let mut whole = without_secrets(whole);
        if let (Some(service), Some(whole)) = (service, whole.as_object_mut()) {
            whole.insert(SERVICE.to_owned(), service);
        }
        if let (Some(Value::Object(settings)), Some(place)) = (settings, whole.pointer_mut("/infrastructure/settings"))
        {
            let each = settings.into_iter().map(|(name, value)| {
                let value = if reach.contains(&name) { without_secrets(value) } else { value };
                (name, value)
            });
            *place = Value::Object(each.collect());
        }
        Ok::<_, crate::error::Error>(by_name(whole))
    };
    compare("", &plain(live)?, &plain(now)?, &mut found);
    found.truncate(MOST);
    Ok(found)
}

/// Another key is how a platform is reached, not what is to be there.
fn without_secrets(value: Value) -> Value {
    match value {
        value if SecretRef::read(&value).is_some() => json!("set"),
        Value::Object(object) => {
            Value::Object(object.into_iter().map(|(key, value)| (key, without_secrets(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_secrets).collect()),
        plain => plain,
    }
}

/// With several nodes as a map of their addresses, in place of the first one.
fn by_name(mut spec: Value) -> Value {
    let Some(infrastructure) = spec.get_mut("infrastructure").and_then(Value::as_object_mut) else { return spec };
    if let Some(Value::Array(nodes)) = infrastructure.remove("nodes") {
        let named = |node: &Value| Some((node.get("name")?.as_str()?.to_owned(), node.get("url")?.clone()));
        infrastructure.insert("nodes".to_owned(), Value::Object(nodes.iter().filter_map(named).collect()));
        infrastructure.remove("node");
    }
    spec
}

fn compare(path: &str, live: &Value, now: &Value, found: &mut Vec<Difference>) {
    let last = path.rsplit('.').next().unwrap_or_default();
    let reached = path.starts_with("infrastructure.") && HOW_IT_IS_REACHED.contains(&last);
    if live == now || reached || NOT_ON_NODE.contains(&path) {
        return;
    }
    if path.is_empty() || GROUPS.contains(&path) {
        each_key(live, now, |key, live, now| {
            let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            compare(&path, live, now, found);
        });
        return;
    }
    match (entries(live), entries(now)) {
        (Some(live), Some(now)) => {
            let (live, now) = (Value::Object(live), Value::Object(now));
            each_key(&live, &now, |key, live, now| {
                if live != now {
                    found.push(told(path, Some(key), live, now));
                }
            });
        }
        _ => found.push(told(path, None, live, now)),
    }
}

fn each_key(live: &Value, now: &Value, mut each: impl FnMut(&str, &Value, &Value)) {
    let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
    let mut all: BTreeMap<String, ()> = BTreeMap::new();
    for key in [live, now].into_iter().filter_map(keys).flatten() {
        all.insert(key, ());
    }
    for key in all.keys() {
        each(key, live.get(key).unwrap_or(&Value::Null), now.get(key).unwrap_or(&Value::Null));
    }
}

/// A map, or a list of sources and targets as one; null has none. None for everything else.
fn entries(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Null => Some(Map::new()),
        Value::Object(map) => Some(map.clone()),
        Value::Array(items) => {
            let pair = |item: &Value| Some((item.get("source")?.as_str()?.to_owned(), item.get("target")?.clone()));
            items.iter().map(pair).collect()
        }
        _ => None,
    }
}

fn told(path: &str, key: Option<&str>, live: &Value, now: &Value) -> Difference {
    let what = match (path, key) {
        ("package.bundle_id", _) => "the bundle".to_owned(),
        ("service.versions", _) => "the versions and their shares".to_owned(),
        ("service.authorization", _) => "who may call".to_owned(),
        ("service.auditing", _) => "where queries are logged".to_owned(),
        ("service.settings" | "infrastructure.settings", Some(key)) => format!("the platform's setting {key}"),
        ("deployed_project_key", _) => "the project key on the node".to_owned(),
        ("project_folder", _) => "the project folder".to_owned(),
        ("infrastructure.node.url", _) => "the address of the node".to_owned(),
        ("infrastructure.nodes", Some(key)) => format!("the address of node {key}"),
        ("infrastructure.run_as_scenarios", _) => "the run-as user of scenarios".to_owned(),
        ("infrastructure.run_as_webapps", _) => "the run-as user of web apps".to_owned(),
        ("connection_remapping", Some(key)) => format!("the remapping of connection {key}"),
        ("local_variables", Some(key)) => format!("the local variable {key}"),
        ("local_variables", None) => "the local variables".to_owned(),
        ("scenarios", Some(key)) => format!("the switch of scenario {key}"),
        (path, key) => {
            let words = path.rsplit('.').next().unwrap_or(path).replace('_', " ");
            key.map_or_else(|| words.clone(), |key| format!("{words} {key}"))
        }
    };
    // What an infrastructure is set to is for its administrators, unless receipts show it anyway.
    let shown = (!path.starts_with("infrastructure.") || SHOWN.contains(&path)) && !UNTOLD.contains(&path);
    if !shown {
        return Difference { what, found: json!("as deployed"), wanted: json!("as it is set now") };
    }
    let hidden = |value: &Value| json!(if value.is_null() { "absent" } else { "a value" });
    if CONFIDENTIAL.contains(&path) {
        let now = if live.is_null() || now.is_null() { hidden(now) } else { json!("another value") };
        return Difference { what, found: hidden(live), wanted: now };
    }
    Difference { what, found: live.clone(), wanted: now.clone() }
}

#[cfg(test)]
mod tests;
