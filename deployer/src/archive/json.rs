//! JSON from an archive: bounded, and with errors that say where.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_path_to_error::Track;

use super::{ArchiveError, shown};

/// The newest format of both manifests.
const NEWEST: u64 = 1;

/// Parses a manifest. A later format is refused before its other keys, whose types may have changed, are looked at.
///
/// # Errors
/// [`ArchiveError::ManifestTooManyValues`] with over `most` values, [`ArchiveError::FormatUnsupported`], [`ArchiveError::ManifestInvalid`].
pub(super) fn manifest<T: DeserializeOwned>(file: &'static str, bytes: &[u8], most: u64) -> Result<T, ArchiveError> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let invalid = |wrong: Wrong| ArchiveError::ManifestInvalid { file, path: wrong.path, problem: wrong.problem };
    let mut left = most.saturating_add(1);
    let counted = parse(bytes, Count { left: &mut left });
    if left == 0 {
        return Err(ArchiveError::ManifestTooManyValues { limit: most });
    }
    counted.map_err(invalid)?;
    if !bytes.trim_ascii_start().starts_with(b"{") {
        let problem = "it must be a JSON object".to_owned();
        return Err(invalid(Wrong { path: top_level(), problem }));
    }
    let head: Head = parse(bytes, std::marker::PhantomData).map_err(invalid)?;
    match head.format_version {
        Some(found) if found > NEWEST => Err(ArchiveError::FormatUnsupported { found, newest: NEWEST }),
        Some(0) => Err(invalid(Wrong { path: "formatVersion".to_owned(), problem: "versions begin at 1".to_owned() })),
        _ => parse(bytes, std::marker::PhantomData).map_err(invalid),
    }
}

/// Parses any JSON object of at most `most` values; `None` for everything else.
pub(super) fn object(bytes: &[u8], most: u64) -> Option<Map<String, Value>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut left = most.saturating_add(1);
    parse(bytes, Count { left: &mut left }).ok()?;
    serde_json::from_slice(bytes).ok()
}

/// `null` stands for what a missing key stands for.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(json: D) -> Result<T, D::Error> {
    Option::deserialize(json).map(Option::unwrap_or_default)
}

/// The format of a manifest that names none.
pub(super) fn first_format() -> u64 {
    1
}

/// For `formatVersion`: `null` is the first one.
pub(super) fn format_version<'de, D: Deserializer<'de>>(json: D) -> Result<u64, D::Error> {
    Option::deserialize(json).map(|version| version.unwrap_or_else(first_format))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    format_version: Option<u64>,
}

struct Wrong {
    path: String,
    problem: String,
}

fn top_level() -> String {
    "the top level".to_owned()
}

/// serde_json ends the recursion at 128 levels.
fn parse<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<S::Value, Wrong> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = Track::new();
    let parsed = seed.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let wrong = |error: serde_json::Error, path: String| {
        let path = if matches!(path.as_str(), "" | "." | "?") { top_level() } else { shown(&path) };
        Wrong { path, problem: shown(&without_values(&error.to_string())) }
    };
    match parsed {
        Ok(value) => json.end().map(|()| value).map_err(|error| wrong(error, String::new())),
        Err(error) => Err(wrong(error, track.path().to_string())),
    }
}

/// An error must not repeat what the manifest holds: that may be a key.
fn without_values(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}…{}", &message[..=first], &message[last..]),
        _ => message.to_owned(),
    }
}

/// Walks through JSON without keeping it, and stops when too much of it came: a byte of JSON can become a hundred bytes of memory.
struct Count<'a> {
    left: &'a mut u64,
}

impl<'de> DeserializeSeed<'de> for Count<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        *self.left = self.left.saturating_sub(1);
        if *self.left == 0 {
            return Err(D::Error::custom("too many values"));
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Count { left: self.left })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key::<IgnoredAny>()?.is_some() {
            members.next_value_seed(Count { left: self.left })?;
        }
        Ok(())
    }
}
