//! The ledger on disk: lines of JSON in segments. A segment is removed as a whole when nothing in it is worth remembering.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{BatchId, Digest};
use crate::shelf::sync_folder;

/// So many segments hold what is remembered.
const SEGMENTS: usize = 8;
/// The longest line that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// What a commit is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its number, which rises.
    pub n: u64,
    /// When, in microseconds since the Unix epoch.
    pub at: i64,
    /// The files that it will put.
    pub files: Vec<String>,
    /// The batches that these hold.
    pub batches: Vec<(BatchId, Digest)>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    /// It is about to be done.
    Intent(Intent),
    /// It was done.
    Done(u64),
    /// It was not done, and nothing of it is left.
    Void(u64),
}

/// The ledger of one process.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    file: File,
    /// Closed segments: number, and when the last intent was.
    closed: VecDeque<(u64, i64)>,
    number: u64,
    newest: i64,
    batches: usize,
    most: usize,
    micros: i64,
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("ids-{number}.jsonl"))
}

fn open(folder: &Path, number: u64) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(folder, number))?;
    sync_folder(folder)?;
    Ok(file)
}

impl Log {
    /// Begins one in an empty folder: it remembers at most so many batches, for at most so long.
    ///
    /// # Errors
    /// What the disk said.
    pub fn create(folder: &Path, most: usize, micros: i64) -> io::Result<Self> {
        let file = open(folder, 0)?;
        let (closed, folder) = (VecDeque::new(), folder.to_owned());
        Ok(Self { folder, file, closed, number: 0, newest: i64::MIN, batches: 0, most, micros })
    }

    /// Writes an intent; it is durable when this returns. Answers how often the disk was asked to confirm.
    ///
    /// # Errors
    /// What the disk said: a part of the line may be there.
    pub fn intend(&mut self, intent: &Intent) -> io::Result<u64> {
        let mut confirmations = 1;
        if self.batches > self.most / SEGMENTS {
            self.file.sync_data()?;
            let next = open(&self.folder, self.number + 1)?;
            self.closed.push_back((self.number, self.newest));
            (self.file, self.number, self.batches) = (next, self.number + 1, 0);
            self.forget(intent.at)?;
            confirmations += 2;
        }
        self.write(&Record::Intent(intent.clone()))?;
        self.file.sync_data()?;
        self.newest = intent.at;
        self.batches += intent.batches.len();
        Ok(confirmations)
    }

    fn forget(&mut self, now: i64) -> io::Result<()> {
        let old = now.saturating_sub(self.micros);
        while self.closed.front().is_some_and(|(_, newest)| *newest < old || self.closed.len() > SEGMENTS) {
            if let Some((number, _)) = self.closed.pop_front() {
                fs::remove_file(path(&self.folder, number))?;
            }
        }
        Ok(())
    }

    /// Notes that an intent was done. The disk confirms it with the next one.
    ///
    /// # Errors
    /// What the disk said.
    pub fn done(&mut self, n: u64) -> io::Result<()> {
        self.write(&Record::Done(n))
    }

    /// Notes that nothing of an intent is left, for good.
    ///
    /// # Errors
    /// What the disk said.
    pub fn void(&mut self, n: u64) -> io::Result<()> {
        self.write(&Record::Void(n))?;
        self.file.sync_data()
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        append(&mut self.file, record)
    }

    /// Has the disk confirm everything.
    ///
    /// # Errors
    /// What the disk said.
    pub fn confirm(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn append(file: &mut File, record: &Record) -> io::Result<()> {
    // A line break in front: what a failed write left is a line of its own, and is skipped.
    let mut line = b"\n".to_vec();
    serde_json::to_writer(&mut line, record)?;
    line.push(b'\n');
    file.write_all(&line)
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("ids-")?.strip_suffix(".jsonl"));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// All records of a folder, in order. A line that is none was cut off, and what it would have said did not happen.
///
/// # Errors
/// What the disk said.
pub(super) fn read(folder: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for number in numbers(folder)? {
        let mut file = BufReader::new(File::open(path(folder, number))?);
        let mut line = Vec::new();
        while file.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
            let whole = line.last() == Some(&b'\n');
            records.extend(serde_json::from_slice(&line).ok().filter(|_| whole));
            line.clear();
        }
    }
    Ok(records)
}

/// Adds a verdict to a dead process's ledger.
///
/// # Errors
/// What the disk said.
pub(super) fn settle(folder: &Path, record: &Record) -> io::Result<()> {
    let number = numbers(folder)?.pop().ok_or(io::ErrorKind::NotFound)?;
    let mut file = OpenOptions::new().append(true).open(path(folder, number))?;
    append(&mut file, record)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Grant;

    fn intent(n: u64, at: i64) -> Intent {
        let id = BatchId::of(&Grant::all("any"), &n.to_string());
        Intent { n, at, files: vec![format!("a/b/{n}.jsonl")], batches: vec![(id, Digest::of(&[7; 32]))] }
    }

    #[test]
    fn what_was_written_is_read_in_order_and_a_cut_line_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(folder.path(), 100, 1_000).unwrap();
        log.intend(&intent(1, 10)).unwrap();
        log.done(1).unwrap();
        log.file.write_all(b"{\"intent\":{\"n\":9,\"at\":3,\"fi").unwrap();
        log.intend(&intent(2, 20)).unwrap();
        log.void(2).unwrap();
        log.intend(&intent(3, 30)).unwrap();
        log.file.write_all(b"{\"done\":3}").unwrap();
        let wanted = [Record::Intent(intent(1, 10)), Record::Done(1), Record::Intent(intent(2, 20)), Record::Void(2)];
        let read_back = read(folder.path()).unwrap();
        assert_eq!(read_back[..4], wanted);
        assert_eq!(read_back[4..], [Record::Intent(intent(3, 30))], "its end was cut off");
        settle(folder.path(), &Record::Done(3)).unwrap();
        assert_eq!(read(folder.path()).unwrap().last(), Some(&Record::Done(3)));
    }

    #[test]
    fn segments_go_when_they_are_too_old_or_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::create(folder.path(), 80, 1_000_000).unwrap();
        for n in 0..1_000 {
            log.intend(&intent(n, 0)).unwrap();
            log.done(n).unwrap();
        }
        let left = numbers(folder.path()).unwrap();
        assert!((SEGMENTS..=SEGMENTS + 1).contains(&left.len()), "{left:?}");
        let kept = read(folder.path()).unwrap().len() / 2;
        assert!((80..200).contains(&kept), "{kept} of at least 80 are kept");
        for n in 1_000..1_012 {
            log.intend(&intent(n, 2_000_000)).unwrap();
        }
        assert!(numbers(folder.path()).unwrap().len() <= 2, "what is too old is gone");
    }
}
