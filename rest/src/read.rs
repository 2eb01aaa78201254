//! Taking documents from outside apart: each thing that is wrong is told with its field.

use deployer::error::{Error, Result};
use serde_json::{Map, Value};

/// A document that is an object.
pub(crate) struct Document {
    /// What has not been taken out yet.
    pub(crate) left: Map<String, Value>,
}

/// What a field is not.
pub(crate) fn wrong(field: &str, what: &str) -> Error {
    Error::field("FIELD_INVALID", field, format!("This must be {what}."))
}

impl Document {
    /// Reads a body.
    pub(crate) fn of(body: Value) -> Result<Self> {
        match body {
            Value::Object(left) => Ok(Self { left }),
            Value::Null => Err(Error::refused("BAD_REQUEST", "There is no body. Send a JSON object.")),
            _ => Err(Error::refused("BAD_REQUEST", "The body must be a JSON object.")),
        }
    }

    /// Takes a field out, in whatever form; null counts as not given.
    pub(crate) fn any(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field).filter(|value| !value.is_null())
    }

    /// Takes a text out.
    pub(crate) fn text(&mut self, field: &str) -> Result<Option<String>> {
        self.any(field).map(|value| text(value, field)).transpose()
    }

    /// Takes a text out that must be there.
    pub(crate) fn required(&mut self, field: &str) -> Result<String> {
        self.text(field)?.ok_or_else(|| Error::field("FIELD_INVALID", field, "This is missing."))
    }

    /// Takes a text out that may be emptied: null and the empty text empty it, a missing key leaves it alone.
    pub(crate) fn named(&mut self, field: &str) -> Result<Option<Option<String>>> {
        match self.left.remove(field) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => Ok(Some(Some(text(value, field)?).filter(|text| !text.is_empty()))),
        }
    }

    /// Takes true or false out.
    pub(crate) fn flag(&mut self, field: &str) -> Result<Option<bool>> {
        self.any(field).map(|value| value.as_bool().ok_or_else(|| wrong(field, "true or false"))).transpose()
    }

    /// Takes an object out.
    pub(crate) fn object(&mut self, field: &str) -> Result<Option<Map<String, Value>>> {
        self.any(field).map(|value| object(value, field)).transpose()
    }

    /// Takes a list out.
    pub(crate) fn list(&mut self, field: &str) -> Result<Option<Vec<Value>>> {
        match self.any(field) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(wrong(field, "a list")),
        }
    }

    /// Takes a list of texts out.
    pub(crate) fn texts(&mut self, field: &str) -> Result<Option<Vec<String>>> {
        let Some(list) = self.list(field)? else { return Ok(None) };
        let numbered = list.into_iter().enumerate();
        numbered.map(|(at, value)| text(value, &format!("{field}[{at}]"))).collect::<Result<_>>().map(Some)
    }

    /// Takes a field out that must not be otherwise than it is.
    pub(crate) fn fixed(&mut self, field: &str, is: &str) -> Result<()> {
        match self.text(field)? {
            Some(given) if given != is => Err(Error::field("FIELD_FIXED", field, "This cannot be changed.")),
            _ => Ok(()),
        }
    }
}

fn text(value: Value, field: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(wrong(field, "a text")),
    }
}

/// A value that is an object.
pub(crate) fn object(value: Value, field: &str) -> Result<Map<String, Value>> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(wrong(field, "an object")),
    }
}

/// The same error with the client's names of fields.
pub(crate) fn renamed(error: Error, names: &[(&str, &str)]) -> Error {
    let Error::Refused(mut refusals) = error else { return error };
    for refusal in &mut refusals {
        let Some(field) = &refusal.field else { continue };
        let end = field.find(['[', '.']).unwrap_or(field.len());
        let (head, tail) = field.split_at(end);
        if let Some((_, theirs)) = names.iter().find(|(ours, _)| *ours == head) {
            refusal.field = Some(format!("{theirs}{tail}"));
        }
    }
    Error::Refused(refusals)
}

/// Lays `known` over what clients keep.
pub(crate) fn over(mut kept: Map<String, Value>, known: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in known {
        let merged = match (kept.remove(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => Value::Object(over(below, above)),
            (_, value) => value,
        };
        kept.insert(key, merged);
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_renamed_with_what_follows() {
        let error = Error::field("X", "connectionRemapping[1].source", "m");
        let Error::Refused(refusals) = renamed(error, &[("connectionRemapping", "a.b")]) else { panic!() };
        assert_eq!(refusals[0].field.as_deref(), Some("a.b[1].source"));
    }

    #[test]
    fn what_is_known_wins_and_the_rest_stays() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let merged =
            over(object(json!({"a": {"x": 1, "y": 2}, "b": 3})), object(json!({"a": {"x": 9}, "b": {"c": 1}})));
        assert_eq!(Value::Object(merged), json!({"a": {"x": 9, "y": 2}, "b": {"c": 1}}));
    }
}
