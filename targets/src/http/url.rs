//! What a node's URL may be: http or https, a host, perhaps a port and a path. Nothing that could carry a secret or change a request's meaning.

use std::fmt;

use engine::failure::{Code, Failure};
use url::{Host, Url};

use super::address::{AddressForbidden, BlockList};
use crate::codes;

/// Longer ones are refused, in characters.
const MAX_CHARS: usize = 1_000;

/// A node's base URL, in one spelling: without a slash at the end, host in lower case, without the scheme's own port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeUrl {
    url: Url,
    text: String,
}

/// Why a text is no node URL. `Display` is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeUrlError {
    /// No URL at all.
    #[error("This is no URL. Write one such as https://automation.example.com:11200.")]
    Malformed,
    /// Another scheme.
    #[error("The URL must begin with http:// or https://.")]
    Scheme,
    /// A user or password in it.
    #[error("The URL must not hold a user name or password. The key has a field of its own.")]
    UserInfo,
    /// A query or fragment.
    #[error("The URL must end before the first \"?\" or \"#\".")]
    QueryOrFragment,
    /// Too long.
    #[error("The URL must have at most {MAX_CHARS} characters.")]
    TooLong,
    /// A literal address in a forbidden network.
    #[error(
        "The URL leads to an address that Slipway must not connect to (link-local, metadata, multicast). An operator can change the list of forbidden networks."
    )]
    Forbidden(#[from] AddressForbidden),
}

impl NodeUrlError {
    /// Its failure code.
    pub fn code(&self) -> Code {
        match self {
            Self::Forbidden(_) => codes::NODE_ADDRESS_FORBIDDEN,
            _ => codes::NODE_URL_INVALID,
        }
    }
}

impl From<NodeUrlError> for Failure {
    fn from(error: NodeUrlError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl NodeUrl {
    /// Reads a URL. A literal address in a forbidden network is refused here; a name's addresses are checked when it is connected to.
    ///
    /// # Errors
    /// [`NodeUrlError`], by what is wrong.
    pub fn parse(text: &str, blocked: &BlockList) -> Result<Self, NodeUrlError> {
        let text = text.trim();
        if text.chars().count() > MAX_CHARS {
            return Err(NodeUrlError::TooLong);
        }
        let mut url = Url::parse(text).map_err(|_| NodeUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NodeUrlError::Scheme);
        }
        // `https:host` is read as `https://host`; we want people to see what they wrote. An `@` without a user is no host either.
        let authority =
            text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#', '\\']).next().unwrap_or_default());
        let authority = authority.ok_or(NodeUrlError::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() || authority.contains('@') {
            return Err(NodeUrlError::UserInfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(NodeUrlError::QueryOrFragment);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Some(v4.into()),
            Some(Host::Ipv6(v6)) => Some(v6.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(NodeUrlError::Malformed),
        };
        if literal.is_some_and(|address| blocked.forbids(address)) {
            return Err(AddressForbidden.into());
        }
        let text = one_spelling(&mut url);
        Ok(Self { url, text })
    }

    /// The one spelling of a node's URL as somebody wrote it; what is no URL stays as it is. Says nothing of whether it may be connected to.
    pub fn spelled(text: &str) -> String {
        Url::parse(text.trim()).map_or_else(|_| text.to_owned(), |mut url| one_spelling(&mut url))
    }

    /// The URL, without a slash at the end. What records about the node are kept under.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same host, port and scheme, and `segments` under the base path; each is escaped, so an id can't leave its place. An empty last segment makes a slash at
    /// the end. None for `.`, `..`, and an empty segment elsewhere, which would name another thing.
    pub(super) fn join(&self, segments: &[&str]) -> Option<Url> {
        let mut url = self.url.clone();
        let last = segments.len().saturating_sub(1);
        let bad = |(i, s): (usize, &&str)| {
            matches!(*s, "." | "..") || (s.is_empty() && i != last) || s.contains(['\t', '\n', '\r'])
        };
        if segments.iter().enumerate().any(bad) {
            return None;
        }
        url.path_segments_mut().ok()?.pop_if_empty().extend(segments);
        Some(url)
    }
}

impl NodeUrl {
    /// Whether this is at the same scheme, host and port.
    pub(super) fn is_same_place(&self, other: &Url) -> bool {
        let place =
            |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
        let bare = other.username().is_empty() && other.password().is_none();
        bare && place(&self.url) == place(other)
    }

    /// `text`, a URL that the other side named, read against this one: a path alone is one on the same host.
    pub(crate) fn named(&self, text: &str) -> Option<Url> {
        self.url.join(text.trim()).ok()
    }
}

fn one_spelling(url: &mut Url) -> String {
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.as_str().trim_end_matches('/').to_owned()
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NodeUrl, NodeUrlError> {
        NodeUrl::parse(text, &BlockList::default())
    }

    #[test]
    fn one_spelling() {
        for (given, kept) in [
            ("http://localhost:11200", "http://localhost:11200"),
            (" https://NODE.example.com:443/ ", "https://node.example.com"),
            ("https://node.example.com/dss//", "https://node.example.com/dss"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://10.0.0.1", "http://10.0.0.1"),
        ] {
            assert_eq!(parse(given).unwrap().as_str(), kept);
            assert_eq!(NodeUrl::spelled(given), kept);
        }
    }

    #[test]
    fn refusals() {
        use NodeUrlError as E;
        for (given, error) in [
            ("", E::Malformed),
            ("node", E::Malformed),
            ("http://", E::Malformed),
            ("http:node", E::Malformed),
            ("ftp://node", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("gopher://node/", E::Scheme),
            ("http://user@node", E::UserInfo),
            ("http://:pw@node", E::UserInfo),
            ("http://@node", E::UserInfo),
            ("http://node/?a", E::QueryOrFragment),
            ("http://node#a", E::QueryOrFragment),
            ("http://169.254.169.254/", E::Forbidden(AddressForbidden)),
            ("http://2852039166/", E::Forbidden(AddressForbidden)),
            ("http://0xA9.0xFE.0xA9.0xFE", E::Forbidden(AddressForbidden)),
            ("http://[::ffff:a9fe:a9fe]", E::Forbidden(AddressForbidden)),
            ("http://[fe80::1]", E::Forbidden(AddressForbidden)),
            ("http://0", E::Forbidden(AddressForbidden)),
        ] {
            assert_eq!(parse(given), Err(error), "{given}");
        }
        assert_eq!(parse(&format!("http://n/{}", "a".repeat(1_000))), Err(E::TooLong));
    }

    #[test]
    fn ids_stay_in_their_place() {
        let url = parse("http://n/base").unwrap();
        let joined = |segments: &[&str]| url.join(segments).map(|u| u.to_string());
        assert_eq!(joined(&["a", "b?c/d#e f%"]).as_deref(), Some("http://n/base/a/b%3Fc%2Fd%23e%20f%25"));
        assert_eq!(joined(&["a", ""]).as_deref(), Some("http://n/base/a/"));
        for bad in [&["a", ".."][..], &["."], &["", "a"]] {
            assert_eq!(joined(bad), None);
        }
        assert_eq!(parse("http://n").unwrap().join(&["a"]).unwrap().as_str(), "http://n/a");
    }
}
