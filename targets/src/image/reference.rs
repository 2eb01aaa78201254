//! How an image is named: `registry[:port]/repository[:tag][@digest]`. The registry is always named; there is no default one.

use std::{fmt, str::FromStr};

use engine::failure::{Code, Failure};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use crate::codes;

/// Longer names of a repository are refused, in characters; registries do the same.
const MAX_REPOSITORY: usize = 255;
/// Longer host names are none.
const MAX_HOST: usize = 253;
/// Longer tags are refused.
const MAX_TAG: usize = 128;
/// Longer texts are not looked at.
const MAX_CHARS: usize = 700;
/// A registry that is known by another name than its address.
const DOCKER_HUB: [&str; 2] = ["docker.io", "registry-1.docker.io"];

/// The name of an image, or of a repository when there is neither tag nor digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image. `Display` is for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Too long to be one.
    #[error("The image reference must have at most {MAX_CHARS} characters.")]
    TooLong,
    /// It begins with `http://` or the like.
    #[error("The image reference must not begin with a scheme: write registry.example.com/team/image:tag.")]
    Scheme,
    /// No registry.
    #[error(
        "The image reference must begin with its registry: registry.example.com/team/image:tag, or localhost:5000/image."
    )]
    Registry,
    /// The part between registry and tag.
    #[error(
        "The image's repository must be lower-case words of letters and digits, parted by \"/\", \".\", \"_\", \"__\" or \"-\", {MAX_REPOSITORY} characters at most."
    )]
    Repository,
    /// The part after the colon.
    #[error(
        "The image's tag must have 1 to {MAX_TAG} letters, digits, \"_\", \".\" or \"-\", and not begin with \".\" or \"-\"."
    )]
    Tag,
    /// The part after the `@`.
    #[error("The image's digest must be sha256: and 64 characters out of 0-9 and a-f.")]
    Digest,
}

impl ReferenceError {
    /// Its failure code.
    pub fn code(&self) -> Code {
        codes::IMAGE_REFERENCE_INVALID
    }
}

impl From<ReferenceError> for Failure {
    fn from(error: ReferenceError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl Reference {
    /// `registry[:port]`, as it was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// `host[:port]` of the registry's API.
    pub fn api_host(&self) -> &str {
        let [name, host] = DOCKER_HUB;
        if self.registry == name { host } else { &self.registry }
    }

    /// The repository, without registry and tag.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one was named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was named. It wins over the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What a manifest is asked for by: the digest, else the tag, else `latest`.
    pub fn wanted(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag()).unwrap_or("latest")
    }

    /// The same repository, by digest alone.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository, by tag alone.
    ///
    /// # Errors
    /// [`ReferenceError::Tag`].
    pub fn tagged(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.trim();
        if text.len() > MAX_CHARS {
            return Err(ReferenceError::TooLong);
        }
        if text.contains("://") {
            return Err(ReferenceError::Scheme);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| ReferenceError::Digest)?)),
            None => (text, None),
        };
        let (registry, rest) = rest.split_once('/').ok_or(ReferenceError::Registry)?;
        if !is_registry(registry) {
            return Err(ReferenceError::Registry);
        }
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_repository(repository) {
            return Err(ReferenceError::Repository);
        }
        if !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self {
            registry: registry.to_ascii_lowercase(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// A host and perhaps a port. A single word is a folder of some default registry to other programs, so it is no registry here.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) => {
                let numeric = address.parse::<std::net::Ipv6Addr>().is_ok();
                return numeric && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_host = host.len() <= MAX_HOST && host.split('.').all(label);
    is_host && port.is_none_or(is_port) && (host.contains('.') || port.is_some() || host == "localhost")
}

fn is_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_repository(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY && text.split('/').all(is_component)
}

/// Words parted by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !text.bytes().next().is_some_and(word) || !text.bytes().next_back().is_some_and(word) {
        return false;
    }
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|part| !part.is_empty());
    separators.into_iter().all(|part| matches!(part, "." | "_" | "__") || part.bytes().all(|byte| byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    (1..=MAX_TAG).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        && !text.starts_with(['.', '-'])
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parts_are_told_apart() {
        let with_both = format!("localhost:5000/a/b_c/d__e--f.g:V1.0@{DIGEST}");
        for (text, registry, repository, tag, wanted) in [
            ("registry.example.com/team/image:1", "registry.example.com", "team/image", Some("1"), "1"),
            ("localhost/image", "localhost", "image", None, "latest"),
            ("[::1]:5000/image", "[::1]:5000", "image", None, "latest"),
            ("org-acct.registry.example.com/db/s/r/i", "org-acct.registry.example.com", "db/s/r/i", None, "latest"),
            (&with_both, "localhost:5000", "a/b_c/d__e--f.g", Some("V1.0"), DIGEST),
        ] {
            let reference: Reference = text.parse().unwrap();
            let parts = (reference.registry(), reference.repository(), reference.tag(), reference.wanted());
            assert_eq!(parts, (registry, repository, tag, wanted), "{text}");
            assert_eq!(reference.to_string(), text);
        }
        let hub: Reference = "docker.io/library/debian".parse().unwrap();
        assert_eq!((hub.registry(), hub.api_host()), ("docker.io", "registry-1.docker.io"));
    }

    #[test]
    fn refusals() {
        use ReferenceError as E;
        let (long, tag) = (format!("r.io/{}", "a".repeat(256)), format!("r.io/a:{}", "t".repeat(129)));
        for (text, error) in [
            ("", E::Registry),
            ("image", E::Registry),
            ("team/image", E::Registry),
            ("https://r.io/image", E::Scheme),
            ("user:pw@r.io/image", E::Digest),
            ("-r.io/image", E::Registry),
            ("r..io/image", E::Registry),
            ("r.io:0/image", E::Registry),
            ("r.io:99999/image", E::Registry),
            ("[::1/image", E::Registry),
            ("r.io/", E::Repository),
            ("r.io/a//b", E::Repository),
            ("r.io/Image", E::Repository),
            ("r.io/../x", E::Repository),
            ("r.io/a___b", E::Repository),
            ("r.io/a?b=c", E::Repository),
            (&long, E::Repository),
            ("r.io/a:", E::Tag),
            ("r.io/a:.t", E::Tag),
            ("r.io/a:t t", E::Tag),
            (&tag, E::Tag),
            ("r.io/a@sha256:12", E::Digest),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
        }
        assert_eq!("a".repeat(701).parse::<Reference>(), Err(E::TooLong));
    }
}
