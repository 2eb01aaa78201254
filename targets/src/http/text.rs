//! A node's words are a stranger's: cut to length, without control characters, without the key.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::secrets::Secret;
use serde_json::Value;
use zeroize::Zeroize;

/// What stands in the key's place.
const MASK: &str = "***";

/// Cleans texts of one node.
#[derive(Clone)]
pub(crate) struct Scrubber {
    /// The key, and the spellings in which an answer could echo it.
    spellings: Vec<Secret>,
}

impl Scrubber {
    pub(crate) fn new(key: &Secret) -> Self {
        Self::of(std::slice::from_ref(key))
    }

    /// Of several keys.
    pub(crate) fn of(keys: &[Secret]) -> Self {
        let mut spellings: Vec<_> = keys.iter().flat_map(spellings_of).collect();
        // The longest first, so that no rest of one stays when another is masked.
        spellings.sort_by_key(|text| std::cmp::Reverse(text.len()));
        spellings.dedup();
        Self { spellings: spellings.into_iter().map(Secret::from).collect() }
    }
    /// A document without the key, in names and texts: whatever a service echoes of its request.
    pub(crate) fn document(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.masked(text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.document(item)).collect()),
            Value::Object(fields) => Value::Object(
                fields.into_iter().map(|(name, value)| (self.masked(name), self.document(value))).collect(),
            ),
            plain => plain,
        }
    }

    fn masked(&self, mut text: String) -> String {
        for spelling in &self.spellings {
            if text.contains(spelling.expose()) {
                text = text.replace(spelling.expose(), MASK);
            }
        }
        text
    }

    /// `text` without the key and without control characters, at most `max` characters.
    pub(crate) fn clean(&self, text: &str, max: usize) -> String {
        // Far more than is kept, so that long answers cost little; masked before the cut, so that no half of a key stays.
        const ENOUGH: usize = 64 * 1024;
        let text = &text[..text.floor_char_boundary(text.len().min(ENOUGH))];
        let masked = self.masked(text.to_owned());
        let mut out = String::new();
        let mut kept = 0;
        for c in masked.chars() {
            let c = match c {
                c if c.is_whitespace() => ' ',
                c if c.is_control() || unseen(c) => continue,
                c => c,
            };
            if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
                continue;
            }
            if kept == max {
                out.push('…');
                break;
            }
            out.push(c);
            kept += 1;
        }
        out.truncate(out.trim_end().len());
        out
    }
}

/// A key, and the spellings in which an answer could echo it.
fn spellings_of(key: &Secret) -> Vec<String> {
    let text = key.expose();
    if text.is_empty() {
        return Vec::new();
    }
    let mut pair = format!("{text}:");
    let mut json = serde_json::to_string(text).unwrap_or_default();
    let spellings = vec![
        text.to_owned(),
        BASE64_STANDARD.encode(&pair),
        json.trim_matches('"').to_owned(),
        url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>(),
    ];
    pair.zeroize();
    json.zeroize();
    spellings
}

/// Characters that change how others are shown: direction marks, joiners, zero-width spaces.
pub fn unseen(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans() {
        let scrubber = Scrubber::new(&Secret::from("s3cr\"et".to_owned()));
        let clean = |text: &str| scrubber.clean(text, 40);
        assert_eq!(clean("a\u{1b}[31mb\n\n\tc\u{202e}d  "), "a[31mb cd");
        assert_eq!(clean("key s3cr\"et!"), "key ***!");
        assert_eq!(clean(r#"{"k":"s3cr\"et"}"#), r#"{"k":"***"}"#);
        assert_eq!(clean("s3cr%22et"), "***");
        assert_eq!(clean(&BASE64_STANDARD.encode("s3cr\"et:")), "***");
        assert_eq!(clean(&"é".repeat(50)), format!("{}…", "é".repeat(40)));
        assert_eq!(Scrubber::new(&Secret::default()).clean("abc", 10), "abc");
    }
}
