//! Reading an object field by field, by hand: what it holds may be secret, so a refusal names the field and never
//! repeats its value.

use crate::reply::Refusal;
use crate::request::{Object, check_id};
use serde_json::Value;

/// The most entries of a list.
const LIST: usize = 1000;

/// An object, and the path by which a refusal names it.
pub(super) struct Fields<'a> {
    object: &'a Object,
    path: &'a str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Object, path: &'a str) -> Self {
        Self { object, path }
    }

    pub(super) fn of(value: &'a Value, path: &'a str) -> Result<Self, Refusal> {
        let object = value.as_object().ok_or_else(|| Refusal::bad(format!("{path} is no object")))?;
        Ok(Self { object, path })
    }

    /// A field; null counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, name: &str, what: &str) -> Refusal {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Refusal::bad(format!("{path} {what}"))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        self.get(name).map(|value| value.as_str().ok_or_else(|| self.wrong(name, "is no text"))).transpose()
    }

    pub(super) fn needed(&self, name: &str) -> Result<&'a str, Refusal> {
        self.text(name)?.filter(|text| !text.is_empty()).ok_or_else(|| self.wrong(name, "is needed"))
    }

    pub(super) fn id(&self, name: &str) -> Result<String, Refusal> {
        let id = self.needed(name)?;
        check_id(name, id)?;
        Ok(id.to_owned())
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<&'a Object>, Refusal> {
        self.get(name).map(|value| value.as_object().ok_or_else(|| self.wrong(name, "is no object"))).transpose()
    }

    /// A list; none counts as empty.
    pub(super) fn list(&self, name: &str) -> Result<&'a [Value], Refusal> {
        let list = match self.get(name) {
            None => return Ok(&[]),
            Some(value) => value.as_array().ok_or_else(|| self.wrong(name, "is no list"))?,
        };
        if list.len() > LIST {
            return Err(self.wrong(name, &format!("has more than {LIST} entries")));
        }
        Ok(list)
    }

    /// A list of texts that are not empty.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let texts: Option<_> = self.list(name)?.iter().map(text).collect();
        texts.ok_or_else(|| self.wrong(name, "has an entry that is no text"))
    }
}
