//! What a schema's marks say of whole settings: which of them say where deployments live (`x-fixed`), and which say how a platform is reached.

use serde_json::{Map, Value};

use super::{DEEPEST, Schema};

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

/// Settings as they were then, reached as they are reached now: what holds a secret, or says where secrets are sent, is that of now.
pub(crate) fn reached_as_now(
    schema: &Schema,
    then: &Map<String, Value>,
    now: &Map<String, Value>,
) -> Map<String, Value> {
    let properties = schema.json.get("properties").and_then(Value::as_object);
    let of_now = |name: &str| {
        properties.and_then(|all| all.get(name)).is_none_or(|property| says_how(&schema.json, property, 0))
    };
    let kept = then.iter().filter(|(name, _)| !of_now(name));
    let fresh = now.iter().filter(|(name, _)| of_now(name));
    kept.chain(fresh).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn says_how(root: &Value, schema: &Value, deep: usize) -> bool {
    match schema {
        _ if deep > 2 * DEEPEST => true,
        Value::Object(object) => object.iter().any(|(name, value)| match (name.as_str(), value) {
            ("writeOnly" | "x-place", Value::Bool(marked)) => *marked,
            ("$ref", Value::String(target)) => target
                .strip_prefix('#')
                .and_then(|pointer| root.pointer(pointer))
                .is_none_or(|target| says_how(root, target, deep + 1)),
            (_, inside) => says_how(root, inside, deep + 1),
        }),
        Value::Array(items) => items.iter().any(|item| says_how(root, item, deep + 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::of, *};

    const SCHEMA: &str = r##"{
        "type": "object", "additionalProperties": false,
        "properties": {
            "namespace": {"type": "string", "x-fixed": true, "default": "default"},
            "exposition": {"type": "object"},
            "cluster": {"$ref": "#/$defs/cluster"},
            "variables": {"type": "array", "items": {"properties": {"value": {"type": "string", "writeOnly": true}}}}
        },
        "$defs": {"cluster": {"type": "object", "properties": {"url": {"type": "string", "x-place": true}}}}
    }"##;

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
        let then = json!({"namespace": "a", "exposition": {"x": 1}, "cluster": {"url": "u"}, "variables": [1]});
        let now = json!({"namespace": "b", "exposition": {"x": 2}, "cluster": {"url": "v"}});
        let wanted = json!({"namespace": "a", "exposition": {"x": 1}, "cluster": {"url": "v"}});
        assert_eq!(reached_as_now(&schema, &map(then), &map(now)), map(wanted));
    }
}
