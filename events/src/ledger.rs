//! Which batches were filed: so that a batch that is sent again after a lost answer is filed once.
//!
//! Before a commit puts its files, its intent is written down: the batches' ids, and the files that will hold them. So after a crash it can be told what stands:
//! if all files of the last intent are there, it was done; else those that are there are taken back, and nobody was answered. [`Known`] is that in memory,
//! `log` on disk, [`house`] the folders of all processes that share a state.

pub mod house;
mod known;
mod log;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

pub use known::Known;
pub use log::{Intent, Log, Record};

use crate::keys::Grant;

/// The first 128 bits of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

/// Which batch: the id that its sender chose, under the sender's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(Digest);

impl Digest {
    /// Of a whole hash.
    pub fn of(hash: &[u8]) -> Self {
        let mut kept = [0; 16];
        for (to, from) in kept.iter_mut().zip(hash) {
            *to = *from;
        }
        Self(kept)
    }
}

impl BatchId {
    /// One sender's ids mean nothing under another's key.
    pub fn of(grant: &Grant, id: &str) -> Self {
        let hash = Sha256::new().chain_update(grant.label()).chain_update([0]).chain_update(id).finalize();
        Self(Digest::of(&hash))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == 32);
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or_else(|| D::Error::custom("32 hexadecimal digits are wanted"))
    }
}
