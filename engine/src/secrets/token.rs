//! The form that API keys and the tokens of nodes share: `MARK<8 characters>_<43 characters>`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Secret, hex};
use crate::clock;

const ID_CHARS: usize = 8;
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 43;
/// 32 letters, five bits each; without 0, 1, l and o, which people mix up.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A text of this form, whatever its mark.
#[derive(Clone)]
pub(super) struct Token {
    text: Secret,
    prefix_chars: usize,
}

impl Token {
    pub(super) fn generate(mark: &str) -> Self {
        let mut id = [0; ID_CHARS];
        clock::random_bytes(&mut id);
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        clock::random_bytes(secret.as_mut());
        let prefix_chars = mark.len() + ID_CHARS;
        let mut text = String::with_capacity(prefix_chars + 1 + SECRET_CHARS);
        text.push_str(mark);
        text.extend(id.iter().map(|b| char::from(ALPHABET[usize::from(b % 32)])));
        text.push('_');
        URL_SAFE_NO_PAD.encode_string(secret.as_slice(), &mut text);
        Self { text: Secret::new(text), prefix_chars }
    }

    pub(super) fn parse(mark: &str, text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let prefix_chars = mark.len() + ID_CHARS;
        let shaped = bytes.len() == prefix_chars + 1 + SECRET_CHARS
            && text.starts_with(mark)
            && bytes[mark.len()..prefix_chars].iter().all(u8::is_ascii_alphanumeric)
            && bytes[prefix_chars] == b'_'
            && bytes[prefix_chars + 1..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        shaped.then(|| Self { text: Secret::new(text.to_owned()), prefix_chars })
    }

    pub(super) fn prefix(&self) -> &str {
        self.text.expose().get(..self.prefix_chars).unwrap_or_default()
    }

    pub(super) fn hash(&self) -> String {
        hex(&Sha256::digest(self.text.expose().as_bytes()))
    }

    pub(super) fn matches(&self, stored: &str) -> bool {
        self.hash().as_bytes().ct_eq(stored.as_bytes()).into()
    }

    pub(super) fn expose(&self) -> &str {
        self.text.expose()
    }
}
