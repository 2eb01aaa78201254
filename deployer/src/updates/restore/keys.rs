//! The keys of what is restored. A key that somebody took away must not come back, so only those count that are set now; where another one is set now for the very
//! same thing, that one is meant. What had a key, and has none now, can't be put back: without it a service might let in everybody.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use targets::spec::SecretRef;

/// The document as it was then, with the keys of now; else the path of the first key that is gone.
pub(super) fn with_those_of_now(
    then: &Map<String, Value>,
    now: &Map<String, Value>,
    set: &BTreeSet<String>,
) -> Result<Map<String, Value>, String> {
    let mended = mend(&Value::Object(then.clone()), Some(&Value::Object(now.clone())), set, "")?;
    Ok(match mended {
        Value::Object(document) => document,
        _ => Map::new(),
    })
}

/// `now` is what stands in the same place, if its place is the same.
fn mend(then: &Value, now: Option<&Value>, set: &BTreeSet<String>, path: &str) -> Result<Value, String> {
    if let Some(reference) = SecretRef::read(then) {
        if set.contains(&reference.id) {
            return Ok(then.clone());
        }
        return now.filter(|now| SecretRef::read(now).is_some()).cloned().ok_or_else(|| path.to_owned());
    }
    match then {
        Value::Object(object) => {
            let same = now.filter(|now| without_keys(now) == without_keys(then)).or(now.filter(|_| !holds_key(object)));
            let each = object.iter().map(|(name, value)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                Ok((name.clone(), mend(value, same.and_then(|now| now.get(name)), set, &path)?))
            });
            Ok(Value::Object(each.collect::<Result<_, String>>()?))
        }
        Value::Array(items) if is_list_of_keys(items) => {
            let all_set = items.iter().filter_map(SecretRef::read).all(|reference| set.contains(&reference.id));
            let now = now.filter(|now| now.as_array().is_some_and(|now| is_list_of_keys(now)));
            if all_set { Ok(then.clone()) } else { now.cloned().ok_or_else(|| path.to_owned()) }
        }
        Value::Array(items) => {
            let others = now.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let each = items.iter().enumerate().map(|(at, item)| {
                let partner = others.iter().find(|other| without_keys(other) == without_keys(item));
                mend(item, partner, set, &format!("{path}[{at}]"))
            });
            Ok(Value::Array(each.collect::<Result<_, String>>()?))
        }
        plain => Ok(plain.clone()),
    }
}

fn is_list_of_keys(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| SecretRef::read(item).is_some())
}

/// Whether a key, or a list of keys, stands right in it.
fn holds_key(object: &Map<String, Value>) -> bool {
    let is_key = |value: &Value| {
        SecretRef::read(value).is_some() || value.as_array().is_some_and(|items| is_list_of_keys(items))
    };
    object.values().any(is_key)
}

/// What a key is for: all that stands beside it.
fn without_keys(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let kept = object.iter().filter(|(_, value)| {
                SecretRef::read(value).is_none() && !value.as_array().is_some_and(|items| is_list_of_keys(items))
            });
            Value::Object(kept.map(|(name, value)| (name.clone(), without_keys(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_keys).collect()),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn restored(then: Value, now: Value) -> Result<Value, String> {
        let set = targets::secret_ref::all_in(&now).into_iter().map(|reference| reference.id).collect();
        let map = |value: Value| value.as_object().cloned().unwrap();
        with_those_of_now(&map(then), &map(now), &set).map(Value::Object)
    }

    fn key(id: &str) -> Value {
        json!({"$secret": id})
    }

    #[test]
    fn keys_are_those_of_now_or_none_can_be() {
        let keyed =
            |ids: &[&str]| json!({"method": "API_KEYS", "keys": ids.iter().map(|id| key(id)).collect::<Vec<_>>()});
        assert_eq!(restored(keyed(&["a"]), keyed(&["a"])), Ok(keyed(&["a"])));
        assert_eq!(restored(keyed(&["a"]), keyed(&["b", "c"])), Ok(keyed(&["b", "c"])), "they were replaced");
        assert_eq!(restored(keyed(&["a", "b"]), keyed(&["a"])), Ok(keyed(&["a"])), "one was taken away");
        assert_eq!(restored(keyed(&["a"]), json!({"method": "PUBLIC"})), Err("keys".to_owned()));
        assert_eq!(restored(keyed(&["a"]), json!({})), Err("keys".to_owned()));
        assert_eq!(restored(json!({"method": "PUBLIC"}), keyed(&["a"])), Ok(json!({"method": "PUBLIC"})));
    }

    #[test]
    fn a_key_goes_nowhere_else() {
        let log = |url: &str, id: &str| json!({"type": "EVENT_SERVER", "url": url, "key": key(id)});
        assert_eq!(restored(log("https://a", "1"), log("https://a", "2")), Ok(log("https://a", "2")));
        assert_eq!(restored(log("https://a", "1"), log("https://b", "2")), Err("key".to_owned()));
        let workload = |level: &str, variables: &[(&str, &str)]| {
            let variables: Vec<_> =
                variables.iter().map(|(name, id)| json!({"name": name, "value": key(id)})).collect();
            json!({"workload": {"env": {"LEVEL": level}, "secretEnv": variables}})
        };
        let then = workload("info", &[("A", "1"), ("B", "2")]);
        assert_eq!(
            restored(then.clone(), workload("debug", &[("B", "3"), ("A", "1")])),
            Ok(workload("info", &[("A", "1"), ("B", "3")]))
        );
        assert_eq!(restored(then, workload("info", &[("A", "1")])), Err("workload.secretEnv[1].value".to_owned()));
    }
}
