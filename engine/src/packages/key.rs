//! The key of a package: made from its content.

use std::{fmt, str::FromStr};

use object_store::path::Path;

use super::PackageError;

const ROOT: &str = "packages/";
const HASH_CHARS: usize = 64;

/// Where a package lies: `packages/<first two>/<SHA-256>`, 64 lower-case hexadecimal characters. No name that a user chose is part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PackageKey(String);

impl PackageKey {
    /// The key of the content with this SHA-256.
    ///
    /// # Errors
    /// [`PackageError::KeyInvalid`] unless it is 64 lower-case hexadecimal characters.
    pub fn of(sha256: &str) -> Result<Self, PackageError> {
        let hash = sha256.len() == HASH_CHARS && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let shard = sha256.get(..2).filter(|_| hash).ok_or(PackageError::KeyInvalid)?;
        Ok(Self(format!("{ROOT}{shard}/{sha256}")))
    }

    /// The SHA-256 of the content.
    pub fn sha256(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The key as text, for the row that names it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn path(&self) -> Path {
        Path::from(self.0.as_str())
    }
}

impl fmt::Display for PackageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PackageKey {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = Self::of(text.rsplit('/').next().unwrap_or_default())?;
        if key.0 == text { Ok(key) } else { Err(PackageError::KeyInvalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_text_and_nothing_else() {
        let sha = "ab".repeat(32);
        let key = PackageKey::of(&sha).unwrap();
        assert_eq!(key.as_str(), format!("packages/ab/{sha}"));
        assert_eq!(key.as_str().parse::<PackageKey>().unwrap(), key);
        assert_eq!(key.sha256(), sha);
        let bad = [
            String::new(),
            sha.clone(),
            format!("packages/cd/{sha}"),
            format!("packages/ab/{}", sha.to_uppercase()),
            format!("packages/ab/../ab/{sha}"),
            format!("/packages/ab/{sha}"),
            "packages/../../etc/passwd".to_owned(),
        ];
        for text in bad {
            assert!(text.parse::<PackageKey>().is_err(), "{text}");
        }
    }
}
