//! A secret inside a target's settings, by reference: `{"$secret": "ID"}`. The secret itself lies sealed in a row of that id.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The only key of a reference.
pub const KEY: &str = "$secret";

/// A reference to a secret's immutable version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The id of the sealed row.
    #[serde(rename = "$secret")]
    pub id: String,
}

impl SecretRef {
    /// The reference, if `value` is one.
    pub fn read(value: &Value) -> Option<Self> {
        let object = value.as_object().filter(|object| object.len() == 1)?;
        Some(Self { id: object.get(KEY)?.as_str()?.to_owned() })
    }

    /// As settings hold it.
    pub fn to_value(&self) -> Value {
        Value::Object(Map::from_iter([(KEY.to_owned(), Value::String(self.id.clone()))]))
    }
}

/// The references anywhere in these settings.
pub fn all_in(value: &Value) -> Vec<SecretRef> {
    let mut found = Vec::new();
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match (SecretRef::read(value), value) {
            (Some(reference), _) => found.push(reference),
            (None, Value::Object(object)) => open.extend(object.values()),
            (None, Value::Array(items)) => open.extend(items),
            (None, _) => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_found_wherever_they_are() {
        let settings = json!({"nodes": [{"key": {"$secret": "a"}, "other": {"$secret": "b", "x": 1}}], "b": "c"});
        assert_eq!(all_in(&settings), [SecretRef { id: "a".to_owned() }]);
        assert_eq!(
            SecretRef::read(&SecretRef { id: "a".to_owned() }.to_value()),
            Some(SecretRef { id: "a".to_owned() })
        );
    }
}
