//! The secrets of a document: taken out when it comes in, masked when it goes out.

use engine::{
    db::Tx,
    secrets::{Keyring, Secret},
};
use serde_json::{Map, Value};
use targets::spec::SecretRef;

use super::{Schema, inner, is_marked, property};
use crate::{
    error::{Problems, Result},
    sealed,
};

/// What is shown where a secret is stored. Sent back, it keeps the secret.
pub const MASK: &str = "**********";
/// What a secret is called until it is sealed.
const ENTERED: &str = "entered";
/// The longest secret, in bytes: a key file, or a kubeconfig.
const LONGEST: usize = 64 << 10;

/// A document whose secrets are still to be sealed.
#[derive(Default)]
pub(crate) struct Prepared {
    document: Value,
    /// Where each goes, and what it is.
    entered: Vec<(String, Secret)>,
}

/// Takes the secrets out of a document that was checked. `old` is what is stored: its secrets stay where the mask came back, and where they would be sent to the
/// same place.
pub(super) fn prepare(
    schema: &Schema,
    old: &Map<String, Value>,
    new: Map<String, Value>,
    field: &str,
    problems: &mut Problems,
) -> Prepared {
    let mut document = Value::Object(new);
    let old = Value::Object(old.clone());
    let mut taking = Taking { root: &schema.json, entered: Vec::new(), problems };
    taking.object(&schema.json, Some(&old), &mut document, Path { shown: field.to_owned(), pointer: String::new() });
    Prepared { document, entered: taking.entered }
}

impl Prepared {
    /// The document with each new secret sealed in a row of its own.
    pub(crate) async fn seal(mut self, tx: &Tx, keyring: &Keyring, owner: &str) -> Result<Map<String, Value>> {
        for (pointer, secret) in self.entered {
            let id = sealed::put(tx, keyring, owner, &secret).await?;
            if let Some(place) = self.document.pointer_mut(&pointer) {
                *place = SecretRef { id }.to_value();
            }
        }
        Ok(match self.document {
            Value::Object(document) => document,
            _ => Map::new(),
        })
    }

    /// The document with references that lead nowhere in place of new secrets, for what is checked before they are sealed.
    pub(crate) fn draft(&self) -> Map<String, Value> {
        self.document.as_object().cloned().unwrap_or_default()
    }
}

/// The document as people see it: a mask for each secret.
pub(crate) fn masked(document: &Map<String, Value>) -> Map<String, Value> {
    fn mask(value: &Value) -> Value {
        match value {
            value if SecretRef::read(value).is_some() => MASK.into(),
            Value::Object(object) => {
                Value::Object(object.iter().map(|(key, value)| (key.clone(), mask(value))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(mask).collect()),
            plain => plain.clone(),
        }
    }
    document.iter().map(|(key, value)| (key.clone(), mask(value))).collect()
}

struct Taking<'a> {
    root: &'a Value,
    entered: Vec<(String, Secret)>,
    problems: &'a mut Problems,
}

#[derive(Clone)]
struct Path {
    shown: String,
    pointer: String,
}

impl Path {
    fn key(&self, key: &str) -> Self {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        Self { shown: format!("{}.{}", self.shown, key.escape_debug()), pointer: format!("{}/{escaped}", self.pointer) }
    }

    fn item(&self, at: usize) -> Self {
        Self { shown: format!("{}[{at}]", self.shown), pointer: format!("{}/{at}", self.pointer) }
    }
}

impl Taking<'_> {
    fn object(&mut self, schema: &Value, old: Option<&Value>, new: &mut Value, path: Path) {
        let Value::Object(object) = new else { return };
        let root = self.root;
        let of = |name: &str| property(root, schema, name).or_else(|| inner(root, schema, "additionalProperties"));
        let old = old.and_then(Value::as_object);
        // A key that was entered for one place must not be sent to another.
        let same_place = old.is_some_and(|old| {
            let mut names = old.keys().chain(object.keys());
            names.all(|name| {
                let marked = of(name).is_some_and(|schema| is_marked(root, schema, "x-place"));
                !marked || old.get(name).unwrap_or(&Value::Null) == object.get(name).unwrap_or(&Value::Null)
            })
        });
        // An empty text is no secret.
        object.retain(|name, value| {
            let secret = of(name).is_some_and(|schema| is_marked(root, schema, "writeOnly"));
            !(secret && (value.is_null() || value.as_str().is_some_and(str::is_empty)))
        });
        for (name, value) in object.iter_mut() {
            let Some(schema) = of(name) else { continue };
            let before = old.and_then(|old| old.get(name));
            let kept = before.filter(|_| same_place);
            self.value(schema, before, kept, value, path.key(name));
        }
    }

    /// `kept` is what a mask stands for; `before` what is compared further in.
    fn value(&mut self, schema: &Value, before: Option<&Value>, kept: Option<&Value>, new: &mut Value, path: Path) {
        if is_marked(self.root, schema, "writeOnly") {
            self.secret(kept, new, path);
            return;
        }
        match new {
            Value::Object(_) => self.object(schema, before, new, path),
            Value::Array(items) => {
                let Some(of_item) = inner(self.root, schema, "items") else { return };
                let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                for (at, item) in items.iter_mut().enumerate() {
                    let old = self.partner(of_item, before, item, at);
                    self.value(of_item, old, old, item, path.item(at));
                }
            }
            _ => {}
        }
    }

    /// The item of the list before that is the same thing: at the same place; where nothing says what its place is, of the same rank.
    fn partner<'b>(&self, schema: &Value, before: &'b [Value], item: &Value, at: usize) -> Option<&'b Value> {
        let Some(object) = item.as_object() else { return before.get(at) };
        let places: Vec<_> = object
            .keys()
            .filter(|name| property(self.root, schema, name).is_some_and(|s| is_marked(self.root, s, "x-place")))
            .collect();
        if places.is_empty() {
            return before.get(at);
        }
        let same = |old: &&Value| places.iter().all(|name| old.get(name.as_str()) == object.get(name.as_str()));
        before.iter().find(same)
    }

    fn secret(&mut self, kept: Option<&Value>, new: &mut Value, path: Path) {
        let text = match new.take() {
            Value::String(text) => text,
            other => {
                let known = kept.is_some_and(|kept| *kept == other);
                if !known {
                    self.problems.add("SETTING_INVALID", path.shown, "A secret is a text.");
                }
                *new = other;
                return;
            }
        };
        if text == MASK {
            match kept.and_then(SecretRef::read) {
                Some(reference) => *new = reference.to_value(),
                None => {
                    let message = "The stored secret cannot be kept: there is none, or this changes where it would be sent. Enter the secret itself.";
                    self.problems.add("ADMIN_KEY_MASKED", path.shown, message);
                }
            }
        } else if text.contains('\0') {
            self.problems.add("SETTING_INVALID", path.shown, "A secret has no NUL character.");
        } else if text.len() > LONGEST {
            self.problems.add("SETTING_INVALID", path.shown, format!("A secret has at most {LONGEST} bytes."));
        } else {
            // What checks the settings sees that there is one.
            *new = SecretRef { id: ENTERED.to_owned() }.to_value();
            self.entered.push((path.pointer, Secret::from(text)));
        }
    }
}
