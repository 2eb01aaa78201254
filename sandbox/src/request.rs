//! What a request asks: the path without its base and its stray slashes, the query, the body.

use crate::node::Core;
use crate::reply::{Answer, Refusal};
use percent_encoding::percent_decode_str;
use poem::http::{Method, header};
use poem::{Body, Request};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// The largest JSON body that the node reads, in bytes.
const JSON_LIMIT: usize = 16 * 1024 * 1024;

/// Where a path leads.
pub(crate) enum Place {
    /// The API; the segments that tell its calls apart, decoded.
    Api(Vec<String>),
    /// The node's own control calls, under `/sandbox`.
    Control(Vec<String>),
    /// Anything else: the pages of a node, which are HTML.
    Pages,
}

/// The segments of a path, decoded: doubled and trailing slashes count for nothing.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect()
}

/// One request, read.
pub(crate) struct Asked<'a, C = Core> {
    pub(crate) core: &'a Arc<C>,
    /// Its place in the log of calls.
    pub(crate) index: u64,
    pub(crate) method: Method,
    pub(crate) segments: Vec<String>,
    pub(crate) query: Query,
    pub(crate) json: Json,
}

impl<C> Asked<'_, C> {
    /// The answer where there is no such call.
    pub(crate) fn nothing(&self) -> Answer {
        Err(Refusal::missing(format!("no such call: {} /{}", self.method, self.segments.join("/"))))
    }
}

/// The query of a request.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query(pub(crate) Vec<(String, String)>);

impl Query {
    pub(crate) fn of(request: &Request) -> Self {
        Self(request.params::<Vec<(String, String)>>().unwrap_or_default())
    }

    /// The value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A boolean, in any case (`True`, `false`).
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(Refusal::bad(format!("{name} is no boolean: {value}"))),
        }
    }
}

/// The body of a call that is not an upload.
pub(crate) enum Json {
    Absent,
    Value(Value),
    Wrong(Refusal),
}

impl Json {
    /// Reads the body, whatever says its type: clients of this API send JSON without a content type.
    pub(crate) async fn read(request: &Request, body: Body) -> Self {
        let bytes = match body.into_bytes_limit(JSON_LIMIT).await {
            Ok(bytes) => bytes,
            Err(error) => return Self::Wrong(Refusal::too_large(format!("can't read the body: {error}"))),
        };
        if bytes.is_empty() {
            return Self::Absent;
        }
        if let Some(kind) = content_type(request)
            && !kind.eq_ignore_ascii_case("application/json")
        {
            return Self::Wrong(Refusal::media(format!("the body is {kind}, not application/json")));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Self::Value(value),
            Err(error) => Self::Wrong(Refusal::bad(format!("the body is no JSON: {error}"))),
        }
    }

    /// The body as an object; anything else, and nothing, is refused.
    pub(crate) fn object(&self) -> Result<&Object, Refusal> {
        match self {
            Self::Value(Value::Object(object)) => Ok(object),
            Self::Value(_) => Err(Refusal::bad("the body is no JSON object")),
            Self::Absent => Err(Refusal::bad("the body is empty, a JSON object is needed")),
            Self::Wrong(refusal) => Err(refusal.clone()),
        }
    }
}

/// The content type without its parameters.
pub(crate) fn content_type(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}

/// Whether the body is an upload.
pub(crate) fn is_upload(request: &Request) -> bool {
    content_type(request).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data"))
}

/// Refuses an id that would break a path.
pub(crate) fn check_id(what: &str, id: &str) -> Result<(), Refusal> {
    let wrong = |c: char| c.is_control() || matches!(c, '/' | '\\' | '?' | '#' | '%');
    if id.trim().is_empty() || id.chars().count() > 100 || id.contains(wrong) || matches!(id, "." | "..") {
        return Err(Refusal::bad(format!("{what} is no valid id")));
    }
    Ok(())
}

/// A string field of an object.
pub(crate) fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::practice::Practice;

    fn api(path: &str) -> Option<Vec<String>> {
        match Core::place(path) {
            Place::Api(segments) => Some(segments),
            _ => None,
        }
    }

    #[test]
    fn both_bases_and_stray_slashes_lead_to_the_same_place() {
        let wanted = Some(vec!["projects".to_owned(), "K 1".to_owned()]);
        for path in ["/dip/publicapi/projects/K%201", "//dip/publicapi//projects/K%201/", "/public/api/projects/K%201"]
        {
            assert_eq!(api(path), wanted, "{path}");
        }
        assert_eq!(api("/projects/K"), None);
    }

    #[test]
    fn flags_are_read_in_any_case() {
        let query = Query(vec![("a".into(), "True".into()), ("b".into(), "FALSE".into()), ("c".into(), "x".into())]);
        assert!(query.flag("a", false).is_ok_and(|value| value));
        assert!(query.flag("b", true).is_ok_and(|value| !value));
        assert!(query.flag("c", true).is_err());
        assert!(query.flag("d", true).is_ok_and(|value| value));
    }

    #[test]
    fn ids_that_break_paths_are_refused() {
        for id in ["", "  ", "a/b", "a?b", "a#b", "..", &"x".repeat(101)] {
            assert!(check_id("id", id).is_err(), "{id:?}");
        }
        assert!(check_id("id", "v 1.2-ü").is_ok());
    }
}
