//! The secrets of a document: taken out when it comes in, masked when it goes out.

use engine::{
    db::Tx,
    secrets::{Keyring, Secret},
};
use serde_json::{Map, Value};
use targets::{
    http::{BlockList, NodeUrl},
    spec::SecretRef,
    target::Entered,
};

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

/// What a mask stands for, or why it stands for nothing.
type Kept<'a> = std::result::Result<&'a Value, String>;
const NEVER: &str = "There is no stored secret.";
const OF_A_LIST: &str = "The list did more than grow, so nobody knows which of its stored secrets is meant.";
const ANOTHER_ENTRY: &str = "The list had no such entry, so there is no stored secret for it.";

/// A document whose secrets are still to be sealed.
#[derive(Default)]
pub(crate) struct Prepared {
    document: Value,
    /// Where each goes, and what it is.
    entered: Vec<(String, Secret)>,
    /// Why no secret stays where it was, if everything goes elsewhere now.
    pub(crate) moved: Option<String>,
}

/// Takes the secrets out of a document that was checked. `old` is what is stored: its secrets stay where the mask came back, and where they would be sent to the
/// same place. `moved` says why they would not, if that is known already.
pub(super) fn prepare(
    schema: &Schema,
    old: &Map<String, Value>,
    new: Map<String, Value>,
    moved: Option<&str>,
    field: &str,
    problems: &mut Problems,
) -> Prepared {
    let home = moved.map(str::to_owned).or_else(|| moved_home(&schema.json, old, &new));
    let (mut document, old) = (Value::Object(new), Value::Object(old.clone()));
    let mut taking = Taking { root: &schema.json, entered: Vec::new(), home, problems };
    taking.object(&schema.json, Ok(&old), &mut document, Path { shown: field.to_owned(), pointer: String::new() });
    Prepared { document, entered: taking.entered, moved: taking.home }
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

    /// The secrets that were entered, for what is checked before they are sealed.
    pub(crate) fn entered(&self) -> Entered<'_> {
        Entered(&self.entered)
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

/// What moved in what is marked `x-home`, where everything of the document goes: then no secret of it stays.
fn moved_home(root: &Value, old: &Map<String, Value>, new: &Map<String, Value>) -> Option<String> {
    let none = Map::new();
    let properties = root.get("properties")?.as_object()?;
    properties.iter().filter(|(_, schema)| is_marked(root, schema, "x-home")).find_map(|(name, schema)| {
        let [old, new] = [old, new].map(|all| all.get(name).and_then(Value::as_object).unwrap_or(&none));
        another_place(root, schema, old, new).map(|inner| went(&format!("{name}.{inner}")))
    })
}

/// The first property, marked `x-place`, that is otherwise than before. What is empty has its default; a mask is what was there.
fn another_place<'a>(
    root: &Value,
    schema: &Value,
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> Option<&'a String> {
    old.keys().chain(new.keys()).find(|name| {
        let Some(schema) = of_object(root, schema, name).filter(|schema| is_marked(root, schema, "x-place")) else {
            return false;
        };
        let default = schema.get("default").unwrap_or(&Value::Null);
        let of = |all: &Map<String, Value>| {
            all.get(*name).filter(|value| !value.is_null() && value.as_str() != Some("")).unwrap_or(default).clone()
        };
        let (old, new) = (of(old), of(new));
        let kept = is_marked(root, schema, "writeOnly") && new.as_str() == Some(MASK);
        !kept && old != new
    })
}

/// The schema of a property, whether it is named or not.
fn of_object<'a>(root: &'a Value, schema: &'a Value, name: &str) -> Option<&'a Value> {
    property(root, schema, name).or_else(|| inner(root, schema, "additionalProperties"))
}

fn went(name: &str) -> String {
    format!("{name} changed, so the stored secret would go somewhere else.")
}

struct Taking<'a> {
    root: &'a Value,
    entered: Vec<(String, Secret)>,
    /// Why no secret of the document stays, if none does.
    home: Option<String>,
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
    fn object(&mut self, schema: &Value, old: Kept<'_>, new: &mut Value, path: Path) {
        let Value::Object(object) = new else { return };
        let root = self.root;
        let of = |name: &str| of_object(root, schema, name);
        let absent = old.as_ref().err().cloned().unwrap_or_else(|| NEVER.to_owned());
        let old = old.ok().and_then(Value::as_object);
        // A key that was entered for one place must not be sent to another.
        let moved = old.and_then(|old| another_place(root, schema, old, object)).map(|name| went(name));
        // An empty text is no secret.
        object.retain(|name, value| {
            let secret = of(name).is_some_and(|schema| is_marked(root, schema, "writeOnly"));
            !(secret && (value.is_null() || value.as_str().is_some_and(str::is_empty)))
        });
        for (name, value) in object.iter_mut() {
            let Some(schema) = of(name) else { continue };
            let before = old.and_then(|old| old.get(name));
            let kept = match (before, &moved) {
                (Some(before), None) => Ok(before),
                (Some(_), Some(moved)) => Err(moved.clone()),
                (None, _) => Err(absent.clone()),
            };
            self.value(schema, before, kept, value, path.key(name));
        }
    }

    /// `kept` is what a mask stands for; `before` what is compared further in.
    fn value(&mut self, schema: &Value, before: Option<&Value>, kept: Kept<'_>, new: &mut Value, path: Path) {
        if is_marked(self.root, schema, "writeOnly") {
            self.secret(kept, new, path);
            return;
        }
        match new {
            Value::Object(_) => self.object(schema, before.map_or_else(|| Err(absent(kept)), Ok), new, path),
            Value::Array(items) => {
                let Some(of_item) = inner(self.root, schema, "items") else { return };
                let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                // Of a list that did more than grow, nobody knows which secret went where.
                let secrets = is_marked(self.root, of_item, "writeOnly");
                let grew = items.len() >= before.len()
                    && items
                        .iter()
                        .zip(before)
                        .all(|(item, old)| !secrets || item == old || item.as_str() == Some(MASK));
                for (at, item) in items.iter_mut().enumerate() {
                    let old = match self.partner(of_item, before, item) {
                        Some(partner) => partner.ok_or(ANOTHER_ENTRY),
                        None if grew => before.get(at).ok_or(NEVER),
                        None => Err(OF_A_LIST),
                    };
                    self.value(of_item, old.ok(), old.map_err(str::to_owned), item, path.item(at));
                }
            }
            Value::String(text) if is_marked(self.root, schema, "x-url") => {
                // Which networks are closed is asked for when it is called.
                if let Err(why) = NodeUrl::parse(text, &BlockList::default()).map(drop)
                    && !text.is_empty()
                {
                    self.problems.add("SETTING_INVALID", path.shown, why.to_string());
                }
            }
            // JSON's 1.0 is a whole number, and serde's is none.
            Value::Number(number) if schema.get("type").is_some_and(|kind| kind == "integer") => {
                if let Some(whole) = number.as_f64().filter(|_| number.is_f64()) {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "the schema says that it is whole, and bounds it"
                    )]
                    let whole = whole as i64;
                    *new = whole.into();
                }
            }
            _ => {}
        }
    }

    /// The item of the list before that is at the same place, if there is one. None where nothing says what an item's place is: then it is the one of the same rank.
    fn partner<'b>(&self, schema: &Value, before: &'b [Value], item: &Value) -> Option<Option<&'b Value>> {
        let object = item.as_object()?;
        let places: Vec<_> = object
            .keys()
            .filter(|name| property(self.root, schema, name).is_some_and(|s| is_marked(self.root, s, "x-place")))
            .collect();
        if places.is_empty() {
            return None;
        }
        let same = |old: &&Value| places.iter().all(|name| old.get(name.as_str()) == object.get(name.as_str()));
        Some(before.iter().find(same))
    }

    fn secret(&mut self, kept: Kept<'_>, new: &mut Value, path: Path) {
        let text = match new.take() {
            Value::String(text) => text,
            other => {
                let known = kept.is_ok_and(|kept| *kept == other);
                if !known {
                    self.problems.add("SETTING_INVALID", path.shown, "A secret is a text.");
                }
                *new = other;
                return;
            }
        };
        if text == MASK {
            let kept = kept.and_then(|kept| self.home.clone().map_or(Ok(kept), Err));
            match kept.and_then(|kept| SecretRef::read(kept).ok_or_else(|| NEVER.to_owned())) {
                Ok(reference) => *new = reference.to_value(),
                Err(why) => {
                    self.problems.add("ADMIN_KEY_MASKED", path.shown, format!("{why} Enter the secret itself."));
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

/// Why a mask inside of what was not there stands for nothing.
fn absent(kept: Kept<'_>) -> String {
    kept.err().unwrap_or_else(|| NEVER.to_owned())
}
