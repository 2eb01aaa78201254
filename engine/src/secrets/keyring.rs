//! The master keys, and encryption at rest.
//!
//! A sealed secret is `v1.<key id>.<base64url(nonce | ciphertext | tag)>`: XChaCha20-Poly1305, whose 192-bit nonces may be random without counting. The row that
//! holds it is *associated data*: a sealed text copied into another row does not open there.
//!
//! The key file has one key a line, `KEYID:BASE64(32 bytes)`. The first is the active one: it seals; all of them open. Empty lines and lines that begin with `#`
//! are passed over; in an environment variable, commas may stand for line ends. A backup without this file can't be read.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Secret, hex};
use crate::{clock, failure::Code};

const VERSION: &str = "v1";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// A key file is a few lines; more is a wrong path.
const FILE_LIMIT: u64 = 64 * 1024;

/// The name of a master key: 1 to 32 lower-case letters, digits, `-` or `_`. Not secret; it is part of what it sealed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    fn parse(text: &str) -> Option<Self> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        fits.then(|| Self(text.to_owned()))
    }

    /// Names the key that sealed this text, of which the beginning is enough. None if it is no sealed text.
    pub fn of_sealed(text: &str) -> Option<Self> {
        split(text).map(|(id, _)| id)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can go wrong with master keys and sealed secrets. No variant carries a key or a secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The key file is missing, unreadable, or others may read it.
    #[error("The master key file {path} cannot be used: {reason}.")]
    Unreadable {
        /// The file, as it was named.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The text is not a list of keys.
    #[error(
        "The master key is malformed at line {line}: {reason}. Each line is KEYID:BASE64, the key 32 bytes long; the first line is the active key."
    )]
    Malformed {
        /// From 1.
        line: usize,
        /// What is wrong there, without the key.
        reason: &'static str,
    },
    /// Sealed with a key that the ring doesn't hold.
    #[error(
        "A secret was encrypted with master key \"{0}\", which is not in the key file. Put that key's line back; it may come after the active one."
    )]
    KeyUnknown(String),
    /// Not a sealed secret, or changed, or of another row.
    #[error("A stored secret cannot be decrypted: it was changed, or belongs to another row. Enter it again.")]
    Corrupt,
}

impl SecretsError {
    /// The stable name, each with its page in `docs/errors`.
    pub fn code(&self) -> Code {
        Code::new(match self {
            Self::Unreadable { .. } => "MASTER_KEY_UNREADABLE",
            Self::Malformed { .. } => "MASTER_KEY_MALFORMED",
            Self::KeyUnknown(_) => "SECRET_KEY_UNKNOWN",
            Self::Corrupt => "SECRET_CORRUPT",
        })
    }
}

/// The master keys of one installation: one that seals, and older ones that still open.
pub struct Keyring {
    active: KeyId,
    /// In the order of the file.
    order: Vec<KeyId>,
    keys: BTreeMap<KeyId, Zeroizing<[u8; KEY_BYTES]>>,
}

impl Keyring {
    /// A ring with one new random key.
    pub fn generate() -> Self {
        let (id, key) = random_key();
        Self { active: id.clone(), order: vec![id.clone()], keys: BTreeMap::from([(id, key)]) }
    }

    /// The same ring with a new random key as the active one: the first half of a rotation. Write it out before anything is sealed with it.
    #[must_use]
    pub fn with_new_active(&self) -> Self {
        let (id, key) = loop {
            let (id, key) = random_key();
            if !self.keys.contains_key(&id) {
                break (id, key);
            }
        };
        let mut keys = self.keys.clone();
        keys.insert(id.clone(), key);
        let order = std::iter::once(id.clone()).chain(self.order.iter().cloned()).collect();
        Self { active: id, order, keys }
    }

    /// Reads the text of a key file, or of an environment variable.
    ///
    /// # Errors
    /// [`SecretsError::Malformed`] with the line.
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        let mut order = Vec::new();
        let mut keys = BTreeMap::new();
        for (at, line) in text.split(['\n', ',']).enumerate() {
            let wrong = |reason| SecretsError::Malformed { line: at + 1, reason };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, key) = line.split_once(':').ok_or_else(|| wrong("there is no colon between key id and key"))?;
            let id = KeyId::parse(id.trim())
                .ok_or_else(|| wrong("a key id is 1 to 32 lower-case letters, digits, '-' or '_'"))?;
            let key = Zeroizing::new(STANDARD.decode(key.trim()).map_err(|_| wrong("the key is not base64"))?);
            let key: [u8; KEY_BYTES] = key.as_slice().try_into().map_err(|_| wrong("the key is not 32 bytes long"))?;
            if keys.insert(id.clone(), Zeroizing::new(key)).is_some() {
                return Err(wrong("this key id was used before"));
            }
            order.push(id);
        }
        let active = order.first().cloned().ok_or(SecretsError::Malformed { line: 1, reason: "there is no key" })?;
        Ok(Self { active, order, keys })
    }

    /// Reads a key file that only its owner may read.
    ///
    /// # Errors
    /// [`SecretsError::Unreadable`] if it is missing, no regular file, over 64 KiB, or its mode lets group or others in; [`SecretsError::Malformed`] as [`Keyring::parse`].
    pub fn load(path: &Path) -> Result<Self, SecretsError> {
        let unusable = |reason: String| SecretsError::Unreadable { path: path.display().to_string(), reason };
        let file = fs::File::open(path).map_err(|e| unusable(reading(&e)))?;
        // Asked of the open file: what was checked is what is read.
        let about = file.metadata().map_err(|e| unusable(reading(&e)))?;
        if !about.is_file() {
            return Err(unusable("it is not a regular file".to_owned()));
        }
        if about.mode() & 0o077 != 0 {
            return Err(unusable(format!(
                "its mode {:03o} lets other users read it; run chmod 600 on it",
                about.mode() & 0o777
            )));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(|e| unusable(reading(&e)))?;
        if text.len() as u64 > FILE_LIMIT {
            return Err(unusable("it is larger than any key file".to_owned()));
        }
        Self::parse(&text)
    }

    /// Makes a new ring and writes it to a file that did not exist, mode 0600, on disk when this returns.
    ///
    /// # Errors
    /// [`SecretsError::Unreadable`] if the file exists already or can't be written.
    pub fn create(path: &Path) -> Result<Self, SecretsError> {
        let ring = Self::generate();
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(ring.to_text().as_bytes())?;
            file.sync_all()
        };
        write().map_err(|e| {
            let reason = match e.kind() {
                io::ErrorKind::NotFound => "its folder does not exist; make that first".to_owned(),
                _ => reading(&e),
            };
            SecretsError::Unreadable { path: path.display().to_string(), reason }
        })?;
        Ok(ring)
    }

    /// The text of the key file, wiped when dropped. Write it to a file of mode 0600 and nowhere else.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for id in &self.order {
            if let Some(key) = self.keys.get(id) {
                text.push_str(id.as_str());
                text.push(':');
                STANDARD.encode_string(key.as_slice(), &mut text);
                text.push('\n');
            }
        }
        text
    }

    /// Whether the ring has this key.
    pub fn holds(&self, id: &KeyId) -> bool {
        self.keys.contains_key(id)
    }

    /// The key that seals.
    pub fn active(&self) -> &KeyId {
        &self.active
    }

    /// Encrypts `plain` for one place. `associated` names that place for good, such as `infrastructure/<row id>/admin_key`; the same text must be given to
    /// [`Keyring::open`].
    ///
    /// # Errors
    /// [`SecretsError::Corrupt`] if `plain` is beyond what the cipher takes (256 GiB).
    pub fn seal(&self, plain: &str, associated: &str) -> Result<String, SecretsError> {
        let mut nonce = [0; NONCE_BYTES];
        clock::random_bytes(&mut nonce);
        let payload = Payload { msg: plain.as_bytes(), aad: associated.as_bytes() };
        let ciphertext =
            self.cipher(&self.active)?.encrypt(&XNonce::from(nonce), payload).map_err(|_| SecretsError::Corrupt)?;
        let mut body = nonce.to_vec();
        body.extend_from_slice(&ciphertext);
        Ok(format!("{VERSION}.{}.{}", self.active, URL_SAFE_NO_PAD.encode(body)))
    }

    /// Decrypts what [`Keyring::seal`] made for the same place.
    ///
    /// # Errors
    /// [`SecretsError::KeyUnknown`] if its key is not in the ring; [`SecretsError::Corrupt`] if it is no sealed text, was changed, or belongs elsewhere.
    pub fn open(&self, sealed: &str, associated: &str) -> Result<Secret, SecretsError> {
        let (id, body) = split(sealed).ok_or(SecretsError::Corrupt)?;
        let cipher = self.cipher(&id)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| SecretsError::Corrupt)?;
        let (nonce, ciphertext) = body.split_first_chunk::<NONCE_BYTES>().ok_or(SecretsError::Corrupt)?;
        let payload = Payload { msg: ciphertext, aad: associated.as_bytes() };
        let plain = cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SecretsError::Corrupt)?;
        String::from_utf8(plain).map(Secret::new).map_err(|wrong| {
            wrong.into_bytes().zeroize();
            SecretsError::Corrupt
        })
    }

    /// Whether this was sealed with another key than the active one (or is no sealed text, which [`Keyring::open`] then says).
    pub fn needs_rotation(&self, sealed: &str) -> bool {
        split(sealed).is_none_or(|(id, _)| id != self.active)
    }

    fn cipher(&self, id: &KeyId) -> Result<XChaCha20Poly1305, SecretsError> {
        let key = self.keys.get(id).ok_or_else(|| SecretsError::KeyUnknown(id.to_string()))?;
        XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| SecretsError::Corrupt)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("active", &self.active).field("keys", &self.order).finish()
    }
}

fn random_key() -> (KeyId, Zeroizing<[u8; KEY_BYTES]>) {
    let mut id = [0; 4];
    clock::random_bytes(&mut id);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    clock::random_bytes(key.as_mut());
    (KeyId(hex(&id)), key)
}

fn split(sealed: &str) -> Option<(KeyId, &str)> {
    let (id, body) = sealed.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')?;
    Some((KeyId::parse(id)?, body))
}

fn reading(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::AlreadyExists => "it exists already".to_owned(),
        io::ErrorKind::InvalidData => "it is not text".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
