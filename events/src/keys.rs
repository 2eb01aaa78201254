//! Who may send events: keys, known by the SHA-256 of each, with a label and what they are bound to.
//!
//! A line names one: `<SHA-256> <label> [topic=<topic>]… [routing-key=<routing key>]…`. A topic or routing key is written as its folder; none named: all.

use std::{collections::HashMap, fmt, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use engine::{clock, secrets::Secret};
use sha2::{Digest as _, Sha256};

use crate::{error::EventError, name};

const MARK: &str = "slev_";
const SECRET_BYTES: usize = 32;
/// The largest file of keys, in bytes.
const LARGEST: u64 = 1 << 20;

/// What a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    label: Arc<str>,
    topics: Vec<String>,
    routing_keys: Vec<String>,
}

impl Grant {
    /// Everything, under this label.
    pub fn all(label: &str) -> Self {
        Self { label: label.into(), topics: Vec::new(), routing_keys: Vec::new() }
    }

    /// For logs: which key it was.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether events of the topic with this folder may be sent.
    pub fn allows_topic(&self, folder: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|topic| topic == folder)
    }

    /// Whether events with the routing key of this folder may be sent.
    pub fn allows_routing_key(&self, folder: &str) -> bool {
        self.routing_keys.is_empty() || self.routing_keys.iter().any(|key| key == folder)
    }

    /// Reads a line: the hash, and what its key may do.
    ///
    /// # Errors
    /// What is wrong, in a sentence that says nothing of the hash.
    pub fn parse(line: &str) -> Result<(Hash, Self), String> {
        let mut parts = line.split_whitespace();
        let hash = parts.next().and_then(Hash::parse);
        let hash = hash.ok_or("it must begin with the SHA-256 of a key, 64 hexadecimal digits")?;
        let label = parts.next().filter(|label| !label.contains('='));
        let label = label.ok_or("after the hash there must be a label, without '='")?;
        let mut grant = Self::all(label);
        for part in parts {
            let (list, folder) = match part.split_once('=') {
                Some(("topic", folder)) => (&mut grant.topics, folder),
                Some(("routing-key", folder)) => (&mut grant.routing_keys, folder),
                _ => return Err("after the label only topic=… and routing-key=… may follow".to_owned()),
            };
            if !name::is_folder(folder) {
                let wanted =
                    "a topic or routing key is written as its folder: letters, digits, '-', '_' and '.', others as %XX";
                return Err(wanted.to_owned());
            }
            list.push(folder.to_owned());
        }
        Ok((hash, grant))
    }
}

/// The SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        let whole = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)).filter(|_| whole) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        whole.then_some(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

/// All keys of one server.
#[derive(Debug, Default)]
pub struct Keys(HashMap<Hash, Arc<Grant>>);

impl Keys {
    /// Reads the keys of the settings, and those of a file unless it is empty; lines that are blank or begin with `#` are skipped.
    ///
    /// # Errors
    /// [`EventError::KeysInvalid`] when a line is wrong, two say the same hash or label, or there is none at all.
    pub fn load(lines: &[String], file: &str) -> Result<Self, EventError> {
        let mut keys = Self::default();
        for (number, line) in lines.iter().enumerate() {
            keys.add(line, &format!("events.keys, entry {}", number + 1))?;
        }
        if !file.is_empty() {
            let text = read(Path::new(file))
                .map_err(|error| EventError::KeysInvalid(format!("events.keys_file: {file}: {error}")))?;
            for (number, line) in text.lines().enumerate() {
                keys.add(line, &format!("{file}, line {}", number + 1))?;
            }
        }
        if keys.0.is_empty() {
            let none = "There is no key, so nobody could send events. Make one with `slipway event-server key`, and put its line into events.keys or the file that events.keys_file names.";
            return Err(EventError::KeysInvalid(none.to_owned()));
        }
        Ok(keys)
    }

    fn add(&mut self, line: &str, place: &str) -> Result<(), EventError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let wrong = |problem: &str| EventError::KeysInvalid(format!("{place}: {problem}."));
        let (hash, grant) = Grant::parse(line).map_err(|problem| wrong(&problem))?;
        // A label tells batches of one key from those of another.
        if self.0.values().any(|other| other.label == grant.label) {
            return Err(wrong("another key has this label"));
        }
        match self.0.insert(hash, Arc::new(grant)) {
            None => Ok(()),
            Some(_) => Err(wrong("another line has this hash")),
        }
    }

    /// What this key may do; `None` for one that is not known. It is looked up by its hash, so how long that takes says nothing of other keys.
    pub fn find(&self, key: &str) -> Option<Arc<Grant>> {
        self.0.get(&Hash::of(key)).cloned()
    }

    /// A new key, and its hash: `slev_` and 256 random bits.
    pub fn generate() -> (Secret, Hash) {
        let mut secret = [0; SECRET_BYTES];
        clock::random_bytes(&mut secret);
        let mut key = MARK.to_owned();
        URL_SAFE_NO_PAD.encode_string(secret, &mut key);
        let hash = Hash::of(&key);
        (Secret::new(key), hash)
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > LARGEST {
        return Err(std::io::Error::other(format!("it has {size} bytes, and may have {LARGEST}")));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_found_by_its_line() {
        let (key, hash) = Keys::generate();
        assert!(key.expose().starts_with("slev_") && key.expose().len() == 48);
        let keys = Keys::load(&[format!("{hash} api-nodes topic=apinode-query")], "").unwrap();
        let grant = keys.find(key.expose()).unwrap();
        assert_eq!(grant.label(), "api-nodes");
        assert!(grant.allows_topic("apinode-query") && !grant.allows_topic("x") && grant.allows_routing_key("any"));
        assert!(keys.find("slev_other").is_none() && keys.find(&hash.to_string()).is_none());
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_without_the_line() {
        let hash = "ab".repeat(32);
        for (line, wanted) in [
            ("secret label".to_owned(), "64 hexadecimal digits"),
            (hash.clone(), "a label"),
            (format!("{hash} topic=a"), "a label"),
            (format!("{hash} one subject=a"), "only topic="),
            (format!("{hash} one topic=a/b"), "as its folder"),
            (format!("{hash} one topic=.."), "as its folder"),
        ] {
            let error = Keys::load(&["# fine".to_owned(), line], "").unwrap_err().to_string();
            assert!(error.starts_with("events.keys, entry 2:") && error.contains(wanted), "{error}");
            assert!(!error.contains("secret") && !error.contains(&hash), "{error}");
        }
        assert!(Keys::load(&[], "").unwrap_err().to_string().contains("There is no key"));
        let twice = [format!("{hash} one"), format!("{hash} other")];
        assert!(Keys::load(&twice, "").unwrap_err().to_string().contains("this hash"));
        let labels = [format!("{hash} one"), format!("{} one", "cd".repeat(32))];
        assert!(Keys::load(&labels, "").unwrap_err().to_string().contains("this label"));
    }

    #[test]
    fn a_file_of_keys_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, format!("# ours\n\n{} one\n{} two routing-key=x\n", "ab".repeat(32), "cd".repeat(32)))
            .unwrap();
        assert_eq!(Keys::load(&[], file.to_str().unwrap()).unwrap().0.len(), 2);
        std::fs::write(&file, "nonsense").unwrap();
        assert!(Keys::load(&[], file.to_str().unwrap()).unwrap_err().to_string().contains("line 1"));
        let missing = folder.path().join("missing");
        assert!(Keys::load(&[], missing.to_str().unwrap()).is_err());
    }
}
