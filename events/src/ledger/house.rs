//! The folders of all processes that share a state: each has its own and holds its lock while it lives. A living one takes over what a dead one left.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use engine::clock;

use super::log::{self, Intent, Record};
use crate::shelf::sync_folder;

const LOCK: &str = "lock";
const UNDER_WAY: &str = "under-way";
const TRIES: usize = 8;

/// This process's folder, and those of dead ones that it looks after.
#[derive(Debug)]
pub struct House {
    state: PathBuf,
    own: PathBuf,
    mark: String,
    _lock: File,
    /// Their locks are ours now, so that nobody else takes them over, too.
    adopted: Vec<(PathBuf, File)>,
}

/// What a dead process left.
#[derive(Debug)]
pub struct Left {
    folder: PathBuf,
    /// What it did, oldest first.
    pub intents: Vec<Intent>,
    /// What it was about to do: nobody knows whether it did.
    pub open: Option<Intent>,
}

impl House {
    /// Makes a folder for this process under `state` (mode 0700).
    ///
    /// # Errors
    /// What the disk said.
    pub fn enter(state: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let mark = format!("{:016x}", clock::random_u64());
            let own = state.join(&mark);
            DirBuilder::new().recursive(true).mode(0o700).create(own.join(UNDER_WAY))?;
            let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(own.join(LOCK))?;
            // Before it is locked, somebody else may take it for one that a dead process left: then another.
            if lock.try_lock().is_ok() {
                sync_folder(&own)?;
                sync_folder(state)?;
                return Ok(Self { state: state.to_owned(), own, mark, _lock: lock, adopted: Vec::new() });
            }
        }
        Err(io::Error::other("the folders of new processes are taken over again and again"))
    }

    /// This process's own folder.
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// For files under way.
    pub fn under_way(&self) -> PathBuf {
        self.own.join(UNDER_WAY)
    }

    /// No other process has this one.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Takes over what processes left that died since the last look; what they left longer than so many microseconds ago goes.
    ///
    /// # Errors
    /// What the disk said.
    pub fn adopt(&mut self, micros: i64) -> io::Result<Vec<Left>> {
        let mut found = Vec::new();
        let ours: BTreeSet<PathBuf> = self.adopted.iter().map(|(folder, _)| folder.clone()).collect();
        for entry in fs::read_dir(&self.state)? {
            let folder = entry?.path();
            if folder == self.own || ours.contains(&folder) || !folder.is_dir() {
                continue;
            }
            // Without a lock it is being made right now, or being removed.
            let lock = match OpenOptions::new().write(true).open(folder.join(LOCK)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) => {}
            }
            let left = read(&folder)?;
            self.adopted.push((folder, lock));
            found.push(left);
        }
        let old = clock::now_micros().saturating_sub(micros);
        for left in &found {
            let worth = left.open.is_some() || left.intents.last().is_some_and(|intent| intent.at >= old);
            if !worth {
                self.remove(&left.folder)?;
            }
        }
        Ok(found)
    }

    /// Notes what became of what a dead process was about to do.
    ///
    /// # Errors
    /// What the disk said.
    pub fn settle(left: &Left, done: bool) -> io::Result<()> {
        match &left.open {
            Some(Intent { n, .. }) => {
                log::settle(&left.folder, &if done { Record::Done(*n) } else { Record::Void(*n) })
            }
            None => Ok(()),
        }
    }

    /// Lets somebody else look after what this left: it could not be settled here, now.
    pub fn give_back(&mut self, left: &Left) {
        self.adopted.retain(|(folder, _)| *folder != left.folder);
    }

    fn remove(&mut self, folder: &Path) -> io::Result<()> {
        fs::remove_dir_all(folder)?;
        self.adopted.retain(|(adopted, _)| adopted != folder);
        Ok(())
    }
}

fn read(folder: &Path) -> io::Result<Left> {
    let mut intents: Vec<Intent> = Vec::new();
    let mut open = None;
    for record in log::read(folder)? {
        match record {
            // A later intent says that the one before was settled, whether or not that reached the disk.
            Record::Intent(intent) => intents.extend(open.replace(intent)),
            Record::Done(n) => intents.extend(open.take_if(|intent: &mut Intent| intent.n == n)),
            Record::Void(n) => drop(open.take_if(|intent| intent.n == n)),
        }
    }
    match fs::remove_dir_all(folder.join(UNDER_WAY)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(Left { folder: folder.to_owned(), intents, open }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Log;

    fn intent(n: u64) -> Intent {
        Intent { n, at: clock::now_micros(), files: vec![format!("a/{n}.jsonl")], batches: Vec::new() }
    }

    #[test]
    fn the_living_are_left_alone_and_the_dead_are_taken_over_once() {
        let state = tempfile::tempdir().unwrap();
        let dead = House::enter(state.path()).unwrap();
        let mut log = Log::create(dead.own(), 100, 1_000).unwrap();
        log.intend(&intent(1)).unwrap();
        log.done(1).unwrap();
        log.intend(&intent(2)).unwrap();
        log.void(2).unwrap();
        log.intend(&intent(3)).unwrap();
        log.intend(&intent(4)).unwrap();
        fs::write(dead.under_way().join("1.part"), b"half").unwrap();

        let hour = 3_600_000_000;
        let mut one = House::enter(state.path()).unwrap();
        let mut other = House::enter(state.path()).unwrap();
        assert!(one.adopt(hour).unwrap().is_empty(), "it lives");
        let under_way = dead.under_way();
        drop(dead);
        let left = one.adopt(hour).unwrap().pop().unwrap();
        assert_eq!(left.intents.iter().map(|intent| intent.n).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(left.open.as_ref().map(|intent| intent.n), Some(4));
        assert!(!under_way.exists());
        assert!(other.adopt(hour).unwrap().is_empty() && one.adopt(hour).unwrap().is_empty(), "one looks after it");
        House::settle(&left, true).unwrap();
        drop(one);

        let mut found = other.adopt(hour).unwrap();
        found.sort_by_key(|left| left.intents.len());
        let left = found.pop().unwrap();
        assert_eq!((left.intents.len(), left.open.is_none()), (3, true), "what was settled stays settled");
        drop(other);

        let mut late = House::enter(state.path()).unwrap();
        late.adopt(-1_000).unwrap();
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1, "what is too old is gone");
    }
}
