//! What a content is known by in a registry: `sha256:` and 64 lower-case hexadecimal characters.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "sha256:";

/// The SHA-256 of a content, in a registry's spelling. Other algorithms are not taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The text is no digest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("This is no digest: write sha256: and 64 characters out of 0-9 and a-f.")]
pub struct DigestInvalid;

impl Digest {
    /// Of these bytes.
    pub fn of(content: &[u8]) -> Self {
        Self::finished(Sha256::new_with_prefix(content))
    }

    /// Of what was hashed.
    pub(crate) fn finished(hasher: Sha256) -> Self {
        Self(format!("{ALGORITHM}{:x}", Bytes::copy_from_slice(&hasher.finalize())))
    }

    /// With its algorithm: `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 characters.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix(ALGORITHM).unwrap_or(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestInvalid;

    fn from_str(text: &str) -> Result<Self, DigestInvalid> {
        let hex = text.strip_prefix(ALGORITHM).ok_or(DigestInvalid)?;
        let fine = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if fine { Ok(Self(text.to_owned())) } else { Err(DigestInvalid) }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestInvalid;

    fn try_from(text: String) -> Result<Self, DigestInvalid> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_sha256() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap().hex().len(), 64);
        let upper = empty.to_uppercase();
        for bad in ["", "sha256:", "sha512:00", &empty[7..], &upper, &empty[..70], "sha256:../../x"] {
            assert_eq!(bad.parse::<Digest>(), Err(DigestInvalid), "{bad}");
        }
    }
}
