//! What we write into the comments of what we make, so that we find ours again, leave others' alone, and know what is live.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::function::Function;
use crate::target::VersionShare;

/// A comment of ours begins so.
const BEGINS: &str = "slipway ";
/// A longer comment is not read.
const LONGEST: usize = 256 * 1024;

/// What a comment of ours says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mark {
    /// The deployment, by its hash.
    pub(super) deployment: String,
    /// All that was asked for, by its hash.
    pub(super) content: String,
    /// The image's tag.
    pub(super) tag: String,
    /// The versions in the image.
    pub(super) versions: Vec<VersionShare>,
    /// The function through which it is called.
    pub(super) function: Function,
}

impl Mark {
    pub(super) fn comment(&self) -> String {
        // Texts, numbers and lists of them: they can't fail to be written.
        format!("{BEGINS}{}", serde_json::to_string(self).unwrap_or_default())
    }

    /// Reads a comment; None if it is none of ours.
    pub(super) fn read(comment: &str) -> Option<Self> {
        let written = comment.strip_prefix(BEGINS).filter(|_| comment.len() < LONGEST)?;
        serde_json::from_str(written).ok()
    }
}

/// The first half of a SHA-256, in hexadecimal digits: enough to tell apart, short enough to read.
pub(super) fn hash(parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Of a JSON value.
pub(super) fn hash_of(value: &Value) -> String {
    hash(&[&value.to_string()])
}
