//! API keys: `slw_<8 characters>_<43 characters>`.
//!
//! The first part, the prefix, finds the row and may be shown in lists and logs; the last is 256 random bits in base64url. The store keeps the prefix and the SHA-256
//! of the whole key. A plain hash is right here, where it would be wrong for a password: there is nothing to guess in 256 random bits, so a slow, salted hash
//! would protect nothing and cost every request milliseconds.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Secret, hex};
use crate::clock;

const MARK: &str = "slw_";
const ID_CHARS: usize = 8;
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 43;
const PREFIX_CHARS: usize = MARK.len() + ID_CHARS;
const KEY_CHARS: usize = PREFIX_CHARS + 1 + SECRET_CHARS;
/// 32 letters, five bits each; without 0, 1, l and o, which people mix up.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A whole API key: shown once when it is made, and seen again in each request that uses it.
#[derive(Clone)]
pub struct ApiKey(Secret);

impl ApiKey {
    /// A new key from 40 random bits of name and 256 random bits of secret. Two names may meet: the store's unique index says so, then make another.
    pub fn generate() -> Self {
        let mut id = [0; ID_CHARS];
        clock::random_bytes(&mut id);
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        clock::random_bytes(secret.as_mut());
        let mut text = String::with_capacity(KEY_CHARS);
        text.push_str(MARK);
        text.extend(id.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])));
        text.push('_');
        URL_SAFE_NO_PAD.encode_string(secret.as_slice(), &mut text);
        Self(Secret::new(text))
    }

    /// Reads what a client sent. `None` if it doesn't have the form of a key; whether it *is* one, only [`ApiKey::matches`] tells.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shaped = bytes.len() == KEY_CHARS
            && text.starts_with(MARK)
            && bytes[MARK.len()..PREFIX_CHARS].iter().all(u8::is_ascii_alphanumeric)
            && bytes[PREFIX_CHARS] == b'_'
            && bytes[PREFIX_CHARS + 1..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        shaped.then(|| Self(Secret::new(text.to_owned())))
    }

    /// `slw_<8 characters>`: names the key without giving it away.
    pub fn prefix(&self) -> &str {
        self.0.expose().get(..PREFIX_CHARS).unwrap_or_default()
    }

    /// SHA-256 of the whole key, 64 lower-case hexadecimal characters: what the store keeps.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.expose().as_bytes()))
    }

    /// Whether `stored` is this key's hash. Takes the same time wherever the two differ.
    pub fn matches(&self, stored: &str) -> bool {
        self.hash().as_bytes().ct_eq(stored.as_bytes()).into()
    }

    /// The key itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_reads_back_and_matches_its_hash_alone() {
        let key = ApiKey::generate();
        assert_eq!(key.expose().len(), 56);
        let again = ApiKey::parse(key.expose()).unwrap();
        assert_eq!(again.prefix(), key.prefix());
        assert_eq!(key.hash().len(), 64);
        assert!(again.matches(&key.hash()));
        assert!(!ApiKey::generate().matches(&key.hash()));
        assert!(!key.matches(""));
        assert!(!key.matches(&key.hash()[..63]));
    }

    #[test]
    fn the_hash_is_sha_256_of_the_whole_key() {
        let key = ApiKey::parse("slw_abcdefgh_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        // printf %s slw_abcdefgh_AAA… | sha256sum
        assert_eq!(key.hash(), "623b8ebc879df374b72d70caba34dfeab6b25fd0ecc8fd98111a85847de00c55");
    }

    #[test]
    fn other_forms_are_no_keys() {
        let good = ApiKey::generate().expose().to_owned();
        let bad = [
            String::new(),
            "slw_".to_owned(),
            good[1..].to_owned(),
            format!("{good}A"),
            good.replacen("slw_", "dku_", 1),
            format!("{}=", &good[..good.len() - 1]),
            format!("{} ", &good[..good.len() - 1]),
            "é".repeat(28),
        ];
        for text in bad {
            assert!(ApiKey::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_shows_the_prefix_alone() {
        let key = ApiKey::generate();
        let shown = format!("{key:?}");
        assert!(shown.contains(key.prefix()));
        assert!(!shown.contains(&key.expose()[13..]));
    }
}
