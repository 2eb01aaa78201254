//! What a schema's marks say of whole settings: which of them say where deployments live (`x-fixed`), and which how a platform is reached (`x-reach`).

use serde_json::{Map, Value};

use super::Schema;

/// The properties, marked `x-fixed`, that `new` has otherwise than `old`. What is left out, or empty, has its default.
pub(crate) fn moved(schema: &Schema, old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let properties = schema.json.get("properties").and_then(Value::as_object);
    let fixed = properties.into_iter().flatten().filter(|(_, property)| property.get("x-fixed") == Some(&true.into()));
    let differs = |(name, property): &(&String, &Value)| {
        let default = property.get("default").unwrap_or(&Value::Null);
        let of = |settings: &'_ Map<String, Value>| {
            let given = settings.get(*name).filter(|value| !value.is_null() && value.as_str() != Some(""));
            given.unwrap_or(default).clone()
        };
        of(old) != of(new)
    };
    fixed.filter(differs).map(|(name, _)| name.clone()).collect()
}

/// The properties, marked `x-reach`, that say how a platform is reached, and nothing of what is to be there.
pub(crate) fn reach(schema: &Schema) -> Vec<String> {
    let properties = schema.json.get("properties").and_then(Value::as_object);
    let marked = |property: &Value| property.get("x-reach") == Some(&true.into());
    properties.into_iter().flatten().filter(|(_, property)| marked(property)).map(|(name, _)| name.clone()).collect()
}

/// Settings as they were then, reached as they are reached now.
pub(crate) fn reached_as_now(
    schema: &Schema,
    then: &Map<String, Value>,
    now: &Map<String, Value>,
) -> Map<String, Value> {
    let reach = reach(schema);
    let of_now = |name: &String| reach.contains(name);
    let kept = then.iter().filter(|(name, _)| !of_now(name));
    let fresh = now.iter().filter(|(name, _)| of_now(name));
    kept.chain(fresh).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::of, *};

    const SCHEMA: &str = r#"{
        "type": "object", "additionalProperties": false,
        "properties": {
            "namespace": {"type": "string", "x-fixed": true, "default": "default"},
            "exposition": {"type": "object"},
            "cluster": {"type": "object", "x-reach": true}
        }
    }"#;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn where_deployments_live_is_compared_with_its_default() {
        let schema = of(SCHEMA).unwrap();
        let moved = |old: Value, new: Value| moved(&schema, &map(old), &map(new));
        assert_eq!(moved(json!({}), json!({"namespace": "default", "exposition": {}})), Vec::<String>::new());
        assert_eq!(moved(json!({"namespace": ""}), json!({})), Vec::<String>::new());
        assert_eq!(moved(json!({}), json!({"namespace": "other"})), ["namespace"]);
    }

    #[test]
    fn ways_are_of_now_and_all_else_is_of_then() {
        let schema = of(SCHEMA).unwrap();
        let then = json!({"namespace": "a", "exposition": {"key": {"$secret": "1"}}, "cluster": {"url": "u"}});
        let now = json!({"namespace": "b", "exposition": {"key": {"$secret": "2"}}, "cluster": {"url": "v"}});
        let wanted = json!({"namespace": "a", "exposition": {"key": {"$secret": "1"}}, "cluster": {"url": "v"}});
        assert_eq!(reached_as_now(&schema, &map(then), &map(now)), map(wanted));
        assert_eq!(reach(&schema), ["cluster"]);
    }
}
