//! A call and its answer, without a server.

use bytes::Bytes;
use deployer::{
    bundles::BundleKey,
    error::{Error, Result},
};
use serde_json::Value;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Make, or do.
    Post,
    /// Replace.
    Put,
    /// Remove.
    Delete,
}

impl Method {
    /// Reads an HTTP method; None for those that this API does not use.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "GET" => Some(Self::Get),
            "POST" => Some(Self::Post),
            "PUT" => Some(Self::Put),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is to be done.
    pub method: Method,
    /// The parts of the path below the API's base, decoded; none is empty.
    pub path: Vec<String>,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The body; a JSON document, whatever its content type, or nothing.
    pub body: Bytes,
}

/// What a call comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A document.
    Json(Value),
    /// The archive of a bundle.
    Bundle(BundleKey),
    /// The archive of a version of a published service.
    Version(String, String),
}

impl Call {
    /// The last parameter of this name. What is empty counts as not given, as clients send it.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that is true or false, in whatever case: Python writes `True`.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(Error::field("FIELD_INVALID", name, "This must be true or false.")),
        }
    }

    /// The body as JSON; null if there is none.
    pub(crate) fn json(&self) -> Result<Value> {
        json(&self.body)
    }
}

/// A body as JSON; null if there is none.
pub(crate) fn json(body: &Bytes) -> Result<Value> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    let value = serde_json::from_slice(body)
        .map_err(|error| Error::refused("BAD_REQUEST", format!("The body is not JSON: {error}")))?;
    match beyond(body) {
        None => Ok(value),
        Some(number) => Err(Error::refused(
            "BAD_REQUEST",
            format!("The number {number} is larger than can be kept as it is. Write it as a text."),
        )),
    }
}

/// The first whole number of a JSON text that would come back as another one: it has more than 64 bits.
fn beyond(json: &[u8]) -> Option<&str> {
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        let rest = &json[at..];
        match byte {
            b'"' => {
                // To the quote that ends it: one behind an even number of backslashes.
                at += 1;
                while json.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let end = rest.iter().position(|byte| !part(byte)).unwrap_or(rest.len());
                let number = std::str::from_utf8(&rest[..end]).unwrap_or_default();
                let whole = !number.contains(['.', 'e', 'E']);
                if whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Some(number);
                }
                at += end;
            }
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(query: &[(&str, &str)]) -> Call {
        Call {
            method: Method::Get,
            path: Vec::new(),
            query: query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn whole_numbers_are_kept_or_refused() {
        for fine in [
            "1",
            "[-9223372036854775808, 18446744073709551615, 1e300, 12345678901234567890123.5]",
            r#"{"a\\": "12345678901234567890123", "\"12345678901234567890123": -0}"#,
        ] {
            assert_eq!(beyond(fine.as_bytes()), None, "{fine}");
        }
        for (json, number) in [
            (r#"{"a": [1, 18446744073709551616]}"#, "18446744073709551616"),
            (r#"{"a\\": -9223372036854775809}"#, "-9223372036854775809"),
        ] {
            assert_eq!(beyond(json.as_bytes()), Some(number));
        }
    }

    #[test]
    fn flags_are_read_as_python_writes_them() {
        let call = call(&[("a", "True"), ("b", "FALSE"), ("c", ""), ("d", "yes"), ("a2", "true"), ("a2", "False")]);
        assert_eq!(call.flag("a").unwrap(), Some(true));
        assert_eq!(call.flag("b").unwrap(), Some(false));
        assert_eq!(call.flag("c").unwrap(), None);
        assert_eq!(call.flag("a2").unwrap(), Some(false));
        assert!(call.flag("d").is_err());
    }
}
