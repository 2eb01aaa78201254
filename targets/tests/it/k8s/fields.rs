//! The fields of objects, as server-side apply counts them: leaves by path, list items by their name, other lists as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

const PART: char = '\u{1f}';

/// The leaves of a body, without what says which object it is.
pub(super) fn leaves(body: &Value) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    walk(body, String::new(), &mut all);
    let identity = ["apiVersion", "kind", "status"].map(|key| format!("{PART}{key}"));
    all.retain(|path, _| !identity.iter().any(|own| path.starts_with(own.as_str())) && !is_metadata(path));
    all
}

fn is_metadata(path: &str) -> bool {
    let mut parts = path.split(PART).skip(1);
    parts.next() == Some("metadata") && !matches!(parts.next(), Some("labels" | "annotations"))
}

fn walk(value: &Value, path: String, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                walk(value, format!("{path}{PART}{key}"), into);
            }
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| item["name"].is_string()) => {
            for item in items {
                walk(item, format!("{path}{PART}[{}]", item["name"].as_str().unwrap()), into);
            }
        }
        other => drop(into.insert(path, other.clone())),
    }
}

/// `.spec.replicas`.
pub(super) fn dotted(path: &str) -> String {
    path.replace(PART, ".")
}

/// Applies `wanted` for `manager`: what it owned alone and does not want any more goes.
pub(super) fn apply(
    value: &mut Value,
    owners: &mut BTreeMap<String, BTreeSet<String>>,
    wanted: &BTreeMap<String, Value>,
    manager: &str,
) {
    let mut gone = Vec::new();
    owners.retain(|path, owning| {
        if !wanted.contains_key(path) && owning.remove(manager) && owning.is_empty() {
            gone.push(path.clone());
        }
        !owning.is_empty()
    });
    let live = leaves(value);
    let mut all = live.clone();
    for path in gone {
        all.remove(&path);
    }
    for (path, leaf) in wanted {
        let owning = owners.entry(path.clone()).or_default();
        if live.get(path) != Some(leaf) {
            owning.clear();
        }
        owning.insert(manager.to_owned());
        all.insert(path.clone(), leaf.clone());
    }
    rebuild(value, &all);
}

/// Sets these for `manager`, who takes them from all others.
pub(super) fn take(
    value: &mut Value,
    owners: &mut BTreeMap<String, BTreeSet<String>>,
    changed: &BTreeMap<String, Value>,
    manager: &str,
) {
    let mut all = leaves(value);
    for (path, leaf) in changed {
        if all.get(path) != Some(leaf) {
            owners.insert(path.clone(), BTreeSet::from([manager.to_owned()]));
            all.insert(path.clone(), leaf.clone());
        }
    }
    rebuild(value, &all);
}

fn rebuild(value: &mut Value, leaves: &BTreeMap<String, Value>) {
    let mut fresh = Map::new();
    for key in ["apiVersion", "kind", "status"] {
        fresh.extend(value.get(key).map(|kept| (key.to_owned(), kept.clone())));
    }
    let mut metadata = value["metadata"].as_object().cloned().unwrap_or_default();
    metadata.retain(|key, _| !matches!(key.as_str(), "labels" | "annotations"));
    fresh.insert("metadata".to_owned(), Value::Object(metadata));
    let mut fresh = Value::Object(fresh);
    for (path, leaf) in leaves {
        let mut at = &mut fresh;
        for part in path.split(PART).skip(1) {
            at = match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')) {
                None => &mut at[part],
                Some(name) => {
                    if !at.is_array() {
                        *at = Value::Array(Vec::new());
                    }
                    let items = at.as_array_mut().unwrap();
                    let found = items.iter().position(|item| item["name"] == name);
                    let n = found.unwrap_or_else(|| {
                        items.push(Value::Object(Map::new()));
                        items.len() - 1
                    });
                    items[n]["name"] = Value::String(name.to_owned());
                    &mut items[n]
                }
            };
        }
        *at = leaf.clone();
    }
    *value = fresh;
}
