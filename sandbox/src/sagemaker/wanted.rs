//! What a request must hold, and nothing else: AWS refuses what its service model does not know.

use super::door::No;
use serde_json::{Map, Value};

pub(super) type Object = Map<String, Value>;

/// Refuses what lacks one of `needed`, or holds what is neither in it nor in `also`.
pub(super) fn only(body: &Object, needed: &[&str], also: &[&str]) -> Result<(), No> {
    if let Some(missing) = needed.iter().find(|name| !body.contains_key(**name)) {
        return Err(No::validation(format!("1 validation error detected: {missing} must not be null")));
    }
    match body.keys().find(|name| !needed.contains(&name.as_str()) && !also.contains(&name.as_str())) {
        Some(unknown) => Err(No::new(400, "SerializationException", format!("{unknown} is unknown"))),
        None => Ok(()),
    }
}

pub(super) fn text<'a>(body: &'a Object, name: &str) -> Result<&'a str, No> {
    let wrong = || No::validation(format!("1 validation error detected: {name} must be a text"));
    body.get(name).and_then(Value::as_str).ok_or_else(wrong)
}

/// A name of SageMaker's: letters, digits and hyphens between them, at most 63.
pub(super) fn name<'a>(body: &'a Object, field: &str) -> Result<&'a str, No> {
    let text = text(body, field)?;
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.is_empty() || text.len() > 63 || !text.chars().all(fine) || text.starts_with('-') || text.ends_with('-') {
        return Err(No::validation(format!("1 validation error detected: {field} failed to satisfy constraint")));
    }
    Ok(text)
}
