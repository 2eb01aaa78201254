//! For tests: a settings struct and its JSON Schema name the same properties.

use std::collections::BTreeSet;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Panics unless `schema` is strict, speaks of every field of `whole` (all of whose optional fields are there) and of no other, describes each property, and both take `{}`.
pub(crate) fn assert_same<T: Serialize + DeserializeOwned>(schema: &str, whole: &T) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    same(&schema, &serde_json::to_value(whole).unwrap(), "");
    assert!(schema.get("required").is_none(), "an empty object must pass");
    serde_json::from_value::<T>(json!({})).unwrap();
    let stray = serde_json::from_value::<T>(json!({"no such thing": 1}));
    assert!(stray.is_err(), "unknown fields must be refused");
}

fn same(schema: &Value, value: &Value, path: &str) {
    let Some(described) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{path}: additionalProperties");
    let fields: BTreeSet<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(described.keys().collect::<BTreeSet<_>>(), fields, "{path}");
    for (name, property) in described {
        let path = format!("{path}.{name}");
        for word in ["title", "description", "type"] {
            assert!(property[word].as_str().is_some_and(|text| !text.is_empty()), "{path}: {word}");
        }
        if property["type"] == "string" && property["enum"].is_null() {
            assert!(property["maxLength"].is_u64(), "{path}: maxLength");
        }
        if property["writeOnly"] != true && property["properties"].is_null() {
            assert_eq!(property["default"], value[name], "{path}: default");
        }
        same(property, &value[name], &path);
    }
}
