//! Secrets: how they are held in memory, encrypted at rest, and how API keys are recognised.
//!
//! * [`Secret`]: text that is wiped on drop and that no `Debug` prints.
//! * [`Keyring`]: the master keys; seals a secret for a row and opens it again.
//! * [`ApiKey`]: the keys that people and machines authenticate with; stored as a prefix and a hash, never as text.
//! * [`NodeToken`]: the tokens with which nodes register themselves, likewise. `token`: the form that both share.

mod api_key;
mod keyring;
mod node_token;
mod secret;
mod token;

pub use api_key::ApiKey;
pub use keyring::{KeyId, Keyring, SecretsError};
pub use node_token::{NodeToken, NodeTokenKind};
pub use secret::Secret;

/// Lower-case hexadecimal of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
