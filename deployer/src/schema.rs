//! Settings that a JSON Schema describes: those of a target, of a connection, of what is logged, of who may call. A frontend draws its form from the schema; what comes
//! in is checked against it; and what the schema marks as a secret (`writeOnly`) is taken out, sealed, and never shown again.
//!
//! A secret stays only while it would be sent where it was entered for: whoever changes a property that is marked `x-place` in the same object enters it again; and all secrets of the
//! document, who changes one in the object that is marked `x-home`.
//!
//! * `take`: validity, with a refusal for each path.
//! * `marks`: what may not change any more (`x-fixed`), and what says how a platform is reached.
//! * `secrets`: finding secrets in a document, and what stands in their place.

mod marks;
mod secrets;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::secrets::MASK;
pub(crate) use self::{
    marks::{moved, reach, reached_as_now},
    secrets::{Prepared, masked},
};
use crate::error::{Problems, Result};

/// The most bytes of one document, as JSON.
const MOST: usize = 256 << 10;
/// So many things that are wrong with a document are told at once.
const MOST_PROBLEMS: usize = 50;
/// The deepest document.
const DEEPEST: usize = 16;

/// A document that came in, its secrets still in it: never shown in a log.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Document(pub Map<String, Value>);

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} settings)", self.0.len())
    }
}

/// A schema and what checks against it.
pub(crate) struct Schema {
    pub(crate) json: Value,
    validator: Validator,
}

/// Reads a schema of ours, once per process.
///
/// # Errors
/// A fault when it is no JSON Schema: a test holds that each is one.
pub(crate) fn of(text: &'static str) -> Result<Arc<Schema>> {
    static READ: LazyLock<Mutex<HashMap<&'static str, Arc<Schema>>>> = LazyLock::new(Mutex::default);
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(schema) = read.get(text) {
        return Ok(Arc::clone(schema));
    }
    let json: Value = serde_json::from_str(text)?;
    let validator = jsonschema::options().should_validate_formats(true).build(&json);
    let validator = validator.map_err(|error| crate::error::Error::fault(format!("a schema is none: {error}")))?;
    let schema = Arc::new(Schema { json, validator });
    read.insert(text, Arc::clone(&schema));
    Ok(schema)
}

/// Takes a document in: checks it, and takes its secrets out. `old` is what is stored, `field` what the document is called. A field that is null counts as not given.
pub(crate) fn take(
    schema: &Schema,
    old: &Map<String, Value>,
    new: Document,
    field: &str,
    problems: &mut Problems,
) -> Prepared {
    take_along(schema, old, new, None, field, problems)
}

/// The same of a document whose secrets go where another one's go: `moved` says why none of them stays, if that one moved.
pub(crate) fn take_along(
    schema: &Schema,
    old: &Map<String, Value>,
    new: Document,
    moved: Option<&str>,
    field: &str,
    problems: &mut Problems,
) -> Prepared {
    let Value::Object(new) = without_nulls(Value::Object(new.0)) else { return Prepared::default() };
    check(schema, &new, field, problems);
    secrets::prepare(schema, old, new, moved, field, problems)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let given = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        plain => plain,
    }
}

/// Notes all that is wrong with a document.
fn check(schema: &Schema, document: &Map<String, Value>, field: &str, problems: &mut Problems) {
    let document = Value::Object(document.clone());
    if document.to_string().len() > MOST || depth(&document) > DEEPEST {
        let message = format!("At most {} KiB, and {DEEPEST} levels deep.", MOST >> 10);
        problems.add("SETTINGS_TOO_LARGE", field, message);
        return;
    }
    for error in schema.validator.iter_errors(&document).take(MOST_PROBLEMS) {
        tell(&schema.json, &error, field, problems);
    }
}

/// Notes one thing that is wrong. Of alternatives, the one that was meant is told of.
fn tell(root: &Value, error: &ValidationError<'_>, field: &str, problems: &mut Problems) {
    let path = path_of(field, &error.instance_path().to_string());
    if let ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } = error.kind() {
        let is_other = |one: &ValidationError<'_>| matches!(one.kind(), ValidationErrorKind::Constant { .. });
        let meant: Vec<_> = context.iter().filter(|errors| !errors.iter().any(is_other)).collect();
        let constants = context.iter().flatten().filter_map(|one| match one.kind() {
            ValidationErrorKind::Constant { expected_value } => Some((one, expected_value.to_string())),
            _ => None,
        });
        let constants: Vec<_> = constants.collect();
        match (meant.as_slice(), constants.first()) {
            ([meant], _) => {
                for error in meant.iter().take(MOST_PROBLEMS) {
                    tell(root, error, field, problems);
                }
                return;
            }
            ([], Some((first, _))) => {
                let path = path_of(field, &first.instance_path().to_string());
                let known: Vec<_> = constants.iter().map(|(_, value)| value.as_str()).collect();
                problems.add("SETTING_INVALID", path, format!("This is one of {}.", known.join(", ")));
                return;
            }
            _ => {}
        }
    }
    {
        let (path, message) = match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let first = unexpected.first().map(|name| name.escape_debug().to_string()).unwrap_or_default();
                (format!("{path}.{first}"), "There is no such setting here. Check its name.".to_owned())
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                (format!("{path}.{name}"), "This is needed.".to_owned())
            }
            ValidationErrorKind::Pattern { pattern } => {
                let at = error.schema_path().to_string();
                let described =
                    at.strip_suffix("/pattern").and_then(|at| root.pointer(at)?.get("description")?.as_str());
                let wanted = described.map(|text| format!(" {text}")).unwrap_or_default();
                (path, format!("This has another form than is wanted.{wanted} As a regular expression: {pattern}"))
            }
            // The value may be a secret that stands in the wrong place: the words are of what is wanted, never of what came.
            _ => (path, format!("{}.", capital(&error.masked_with("what is there").to_string()))),
        };
        problems.add("SETTING_INVALID", path, message);
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `/apiNodes/0/url` under `platform` is `platform.apiNodes[0].url`.
fn path_of(field: &str, pointer: &str) -> String {
    let mut path = field.to_owned();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push('.');
            path.push_str(&part.escape_debug().to_string());
        }
    }
    path
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The schema of a property of an object's schema, through references and alternatives; None if the object says nothing of it by name.
fn property<'a>(root: &'a Value, schema: &'a Value, name: &str) -> Option<&'a Value> {
    find(root, schema, 0, &|schema| schema.get("properties")?.get(name))
}

/// The schema of an array's items, or of the properties that are not named.
fn inner<'a>(root: &'a Value, schema: &'a Value, keyword: &str) -> Option<&'a Value> {
    find(root, schema, 0, &|schema| schema.get(keyword).filter(|inner| inner.is_object()))
}

fn find<'a>(
    root: &'a Value,
    schema: &'a Value,
    deep: usize,
    pick: &dyn Fn(&'a Value) -> Option<&'a Value>,
) -> Option<&'a Value> {
    if deep > DEEPEST {
        return None;
    }
    if let Some(found) = pick(schema) {
        return Some(found);
    }
    if let Some(pointer) = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#')) {
        return find(root, root.pointer(pointer)?, deep + 1, pick);
    }
    let alternatives = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let conditional = ["then", "else"].into_iter().filter_map(|key| schema.get(key));
    alternatives.chain(conditional).find_map(|schema| find(root, schema, deep + 1, pick))
}

/// Whether a schema is marked, itself or where it refers to.
fn is_marked(root: &Value, schema: &Value, mark: &str) -> bool {
    find(root, schema, 0, &|schema| schema.get(mark).filter(|value| **value == Value::Bool(true))).is_some()
}

#[cfg(test)]
mod tests;
