//! To log files: one event a line, in a folder of their routing key. A full file becomes the first of the older ones, of which some are kept.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use engine::failure::Failure;

use super::{Batch, Outlet, Undelivered, outlet::invalid};
use crate::codes;

/// The file that is written.
const NAME: &str = "queries.jsonl";
/// A file that has so many bytes is full.
const FULL: u64 = 64 << 20;
/// Older files that are kept.
const KEPT: u32 = 8;
/// The longest folder, in bytes.
const LONGEST: usize = 255;

/// A folder of log files.
#[derive(Debug)]
pub(super) struct LogFiles {
    folder: PathBuf,
    full: u64,
    kept: u32,
    open: Option<(File, u64)>,
}

impl LogFiles {
    /// A routing key is a folder below `root`: letters, digits, `-`, `_` and `.`, and no dot at the beginning; others stand as `%XX`.
    pub(super) fn new(root: &Path, routing_key: &str) -> Result<Self, Failure> {
        Self::bounded(root, routing_key, FULL, KEPT)
    }

    fn bounded(root: &Path, routing_key: &str, full: u64, kept: u32) -> Result<Self, Failure> {
        let mut folder = String::new();
        for (at, byte) in routing_key.bytes().enumerate() {
            match byte {
                b'.' if at == 0 => folder.push_str("%2E"),
                b'-' | b'_' | b'.' => folder.push(char::from(byte)),
                _ if byte.is_ascii_alphanumeric() => folder.push(char::from(byte)),
                _ => folder.push_str(&format!("%{byte:02X}")),
            }
        }
        if folder.is_empty() || folder.len() > LONGEST {
            return Err(invalid("auditing.routingKey", "it must not be empty, nor longer than a folder's name may be"));
        }
        Ok(Self { folder: root.join(folder), full, kept, open: None })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, size)| *size >= self.full) {
            self.open = None;
            self.rotate()?;
        }
        let (file, size) = match &mut self.open {
            Some(open) => open,
            None => {
                DirBuilder::new().recursive(true).mode(0o750).create(&self.folder)?;
                let path = self.folder.join(NAME);
                let mut file = OpenOptions::new().append(true).read(true).create(true).mode(0o640).open(path)?;
                let size = file.metadata()?.len();
                if size > 0 && !ends_whole(&file, size)? {
                    // What a dead process left in the middle of a line stays a line of its own.
                    file.write_all(b"\n")?;
                }
                self.open.insert((file, size))
            }
        };
        let before = *size;
        if let Err(error) = file.write_all(lines) {
            // It is sent again: no part of it may stay.
            if file.set_len(before).is_err() {
                self.open = None;
            }
            return Err(error);
        }
        *size = before.saturating_add(lines.len() as u64);
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| self.folder.join(format!("queries.{number}.jsonl"));
        for number in (1..self.kept).rev() {
            moved(&numbered(number), &numbered(number + 1))?;
        }
        if self.kept == 0 {
            fs::remove_file(self.folder.join(NAME))
        } else {
            moved(&self.folder.join(NAME), &numbered(1))
        }
    }
}

fn ends_whole(file: &File, size: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}

/// What is not there need not be moved.
fn moved(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[async_trait]
impl Outlet for LogFiles {
    async fn send(&mut self, batch: &Batch) -> Result<(), Undelivered> {
        let mut lines = String::new();
        for line in batch.told() {
            lines.push_str(&line);
            lines.push('\n');
        }
        let mut files = Self { folder: self.folder.clone(), open: self.open.take(), ..*self };
        let (files, written) = tokio::task::spawn_blocking(move || {
            let written = files.write(lines.as_bytes());
            (files, written)
        })
        .await
        .map_err(|error| unwritten(&error.to_string()))?;
        *self = files;
        written.map_err(|error| unwritten(&error.to_string()))
    }
}

fn unwritten(detail: &str) -> Undelivered {
    let message = "The log file of queries could not be written.";
    Undelivered::passing(Failure::new(codes::QUERY_LOG_UNREACHABLE, message).detail(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(events: &[&str]) -> Batch {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        Batch { id: "1".to_owned(), routing_key: "../churn".to_owned(), events }
    }

    #[tokio::test]
    async fn files_are_turned_over_and_stay_in_their_folder() {
        let root = tempfile::tempdir().unwrap();
        let mut files = LogFiles::bounded(root.path(), "../churn", 100, 2).unwrap();
        for n in 0..8 {
            files.send(&batch(&[&format!("{{\"n\":{n}}}"), "{}"])).await.unwrap();
        }
        let folder = root.path().join("%2E.%2Fchurn");
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let line = |event: &str| {
            format!("{{\"topic\":\"apinode-query\",\"routingKey\":\"../churn\",\"clientEvent\":{event}}}\n")
        };
        let of = |n: i32| line(&format!("{{\"n\":{n}}}")) + &line("{}");
        assert_eq!([read(NAME), read("queries.1.jsonl"), read("queries.2.jsonl")], [of(7), of(6), of(5)]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn half_a_line_of_a_dead_process_spoils_no_other() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("k")).unwrap();
        fs::write(root.path().join("k/queries.jsonl"), "{\"clientEv").unwrap();
        let mut files = LogFiles::new(root.path(), "k").unwrap();
        files.send(&batch(&["{}"])).await.unwrap();
        let text = fs::read_to_string(root.path().join("k/queries.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(LogFiles::new(root.path(), "").is_err() && LogFiles::new(root.path(), &"/".repeat(100)).is_err());
    }
}
