//! API keys: `slw_<8 characters>_<43 characters>`.
//!
//! The first part, the prefix, finds the row and may be shown in lists and logs; the last is 256 random bits in base64url. The store keeps the prefix and the SHA-256
//! of the whole key. A plain hash is right here, where it would be wrong for a password: there is nothing to guess in 256 random bits, so a slow, salted hash
//! would protect nothing and cost every request milliseconds.

use std::fmt;

use super::token::Token;

const MARK: &str = "slw_";

/// A whole API key: shown once when it is made, and seen again in each request that uses it.
#[derive(Clone)]
pub struct ApiKey(Token);

impl ApiKey {
    /// A new key from 40 random bits of name and 256 random bits of secret. Two names may meet: the store's unique index says so, then make another.
    pub fn generate() -> Self {
        Self(Token::generate(MARK))
    }

    /// Reads what a client sent. `None` if it doesn't have the form of a key; whether it *is* one, only [`ApiKey::matches`] tells.
    pub fn parse(text: &str) -> Option<Self> {
        Token::parse(MARK, text).map(Self)
    }

    /// `slw_<8 characters>`: names the key without giving it away.
    pub fn prefix(&self) -> &str {
        self.0.prefix()
    }

    /// SHA-256 of the whole key, 64 lower-case hexadecimal characters: what the store keeps.
    pub fn hash(&self) -> String {
        self.0.hash()
    }

    /// Whether `stored` is this key's hash. Takes the same time wherever the two differ.
    pub fn matches(&self, stored: &str) -> bool {
        self.0.matches(stored)
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
