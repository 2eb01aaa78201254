//! The agent's files. One that has not arrived whole is hidden, and what it holds is what was received: a broken upload goes on from there. It gets its name only
//! when its content has the checksum that was promised, and is on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use poem::http::StatusCode;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::name::Name;

/// Readable by the folder's group: the API node is another user. A package may hold the keys of its callers.
const MODE: u32 = 0o640;
const PIECE: usize = 256 * 1024;

/// What an agent is started with.
#[derive(Clone)]
pub struct AgentSettings {
    /// Where packages lie.
    pub folder: PathBuf,
    /// SHA-256 of the key that callers have, 32 bytes.
    pub key_sha256: [u8; 32],
    /// The largest file, in bytes.
    pub largest: u64,
    /// So many bytes of the disk are left free.
    pub keep_free: u64,
}

/// The agent.
pub struct Agent {
    settings: AgentSettings,
    folder: String,
    /// Names that somebody is writing.
    busy: Mutex<BTreeSet<Name>>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why a call was refused: a status, a code, a sentence.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

pub(super) fn refusal(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { status, code, message: message.into() }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return full();
        }
        tracing::error!(%error, "the agent's folder failed");
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "DISK_FAILED", "The agent's folder failed; its log says how.")
    }
}

fn full() -> Refusal {
    refusal(StatusCode::INSUFFICIENT_STORAGE, "DISK_FULL", "The disk has no room for this file.")
}

/// How much of a file there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) received: u64,
    pub(super) complete: bool,
}

/// What one call brings of a file: from this byte on, of so many in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: u64,
    pub(super) size: u64,
}

impl Agent {
    /// Looks at the folder: it must be there, and this process must be able to write to it.
    ///
    /// # Errors
    /// When it is not, or its name is none of a path in UTF-8.
    pub fn open(mut settings: AgentSettings) -> io::Result<Self> {
        settings.folder = fs::canonicalize(&settings.folder)?;
        let folder = settings.folder.to_str().map(str::to_owned);
        let folder =
            folder.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the folder's name is not UTF-8"))?;
        let tried = settings.folder.join(".slipway-agent");
        OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&tried)?;
        fs::remove_file(&tried)?;
        Ok(Self { settings, folder, busy: Mutex::default() })
    }

    pub(super) fn folder(&self) -> &str {
        &self.folder
    }

    pub(super) fn largest(&self) -> u64 {
        self.settings.largest
    }

    /// Whether this is the key; in the same time for all that are wrong.
    pub(super) fn knows(&self, key: &str) -> bool {
        Sha256::digest(key.as_bytes()).as_slice().ct_eq(&self.settings.key_sha256).into()
    }

    /// Bytes that may still be brought. Blocks.
    pub(super) fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.settings.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(self.settings.keep_free))
    }

    /// Every file, also those that have not arrived whole. Blocks.
    pub(super) fn list(&self) -> io::Result<BTreeMap<Name, Held>> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&self.settings.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((name, complete)) = name.to_str().and_then(Name::of_entry) else { continue };
            if !entry.file_type()?.is_file() {
                continue;
            }
            let held = Held { received: entry.metadata()?.len(), complete };
            let known = files.entry(name).or_insert(held);
            if complete {
                *known = held;
            }
        }
        Ok(files)
    }

    /// How much of a file there is. Blocks.
    pub(super) fn held(&self, name: &Name) -> io::Result<Option<Held>> {
        let size = |path: PathBuf| match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(received) = size(self.place(name))? {
            return Ok(Some(Held { received, complete: true }));
        }
        Ok(size(self.part(name))?.map(|received| Held { received, complete: false }))
    }

    /// Whether a file is there with this content, to the last byte: disks and people change files. Blocks.
    pub(super) fn has(&self, name: &Name, size: u64, sha256: &[u8; 32]) -> io::Result<bool> {
        match self.held(name)? {
            Some(held) if held.complete && held.received == size => {}
            _ => return Ok(false),
        }
        Ok(hashed(&mut File::open(self.place(name))?)? == *sha256)
    }

    /// Removes a file, whole or not. Whether there was one. Blocks.
    pub(super) fn remove(&self, name: &Name) -> io::Result<bool> {
        let mut found = false;
        for path in [self.place(name), self.part(name)] {
            match fs::remove_file(path) {
                Ok(()) => found = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn place(&self, name: &Name) -> PathBuf {
        self.settings.folder.join(name.as_str())
    }

    fn part(&self, name: &Name) -> PathBuf {
        self.settings.folder.join(name.part())
    }

    /// Keeps a name for one writer.
    pub(super) fn take(self: &Arc<Self>, name: &Name) -> Result<Taken, Refusal> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(name.clone()) {
            return Err(refusal(StatusCode::LOCKED, "FILE_BUSY", "Somebody else is bringing this file."));
        }
        Ok(Taken { agent: Arc::clone(self), name: name.clone() })
    }
}

/// A name that one writer holds; it is free again when this goes.
pub(super) struct Taken {
    agent: Arc<Agent>,
    name: Name,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.agent.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Taken {
    /// Opens the file to go on with it. What is there must be what the caller goes on from. Blocks.
    pub(super) fn open(self, range: Range) -> Result<Writing, Refusal> {
        let (agent, Range { from, size }) = (&self.agent, range);
        if size > agent.settings.largest {
            let message =
                format!("The file is larger than this agent takes: {} bytes at most.", agent.settings.largest);
            return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "FILE_TOO_LARGE", message));
        }
        let path = agent.part(&self.name);
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
        let received = file.metadata()?.len();
        if received != from {
            let message = format!("This agent has {received} bytes of the file, and was sent what follows {from}.");
            return Err(refusal(StatusCode::CONFLICT, "RANGE_DIFFERS", message));
        }
        if size - from > agent.free()? {
            return Err(full());
        }
        file.seek(SeekFrom::Start(from))?;
        Ok(Writing { taken: self, file, received, size })
    }
}

/// A file on its way in.
pub(super) struct Writing {
    taken: Taken,
    file: File,
    received: u64,
    size: u64,
}

impl Writing {
    /// Blocks.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        if piece.len() as u64 > self.size - self.received {
            return Err(refusal(StatusCode::BAD_REQUEST, "TOO_MUCH", "More arrived than the file has."));
        }
        self.file.write_all(piece)?;
        self.received += piece.len() as u64;
        Ok(())
    }

    /// All that came of this call is there. The last one checks the whole, and puts it in its place. Blocks.
    pub(super) fn finish(mut self, sha256: &[u8; 32]) -> Result<Held, Refusal> {
        self.file.sync_all()?;
        if self.received < self.size {
            return Ok(Held { received: self.received, complete: false });
        }
        let (agent, name) = (&self.taken.agent, &self.taken.name);
        if hashed(&mut self.file)? != *sha256 {
            // Nothing can be gone on from: the next upload begins anew.
            fs::remove_file(agent.part(name))?;
            let message =
                "What arrived is not what was promised: its checksum differs. Send it again from the beginning.";
            return Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "CHECKSUM_DIFFERS", message));
        }
        fs::rename(agent.part(name), agent.place(name))?;
        // The name is durable with its folder.
        File::open(&agent.settings.folder)?.sync_all()?;
        Ok(Held { received: self.size, complete: true })
    }
}

fn hashed(file: &mut File) -> io::Result<[u8; 32]> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&piece[..read]);
    }
}
