//! The staging folder: uploads on their way in.
//!
//! A staged file is locked while somebody uses it. The lock goes with its process, so what a dead process left is told from what a living one is writing, also
//! when several share the folder. The folder must be on a local disk.

use std::{
    error::Error,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    pin::pin,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::PackageError;
use crate::{clock, secrets::hex};

const SUFFIX: &str = "part";

/// An upload that arrived whole: on disk, hashed, not yet in the store. Dropping it removes the file.
#[derive(Debug)]
pub struct Staged {
    file: TempFile,
    size: u64,
    sha256: String,
}

impl Staged {
    /// The file, for the reader that checks it. It lives as long as this value.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of the content, 64 lower-case hexadecimal characters.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// A file that goes when this value goes, also when the future that was writing it is dropped.
#[derive(Debug)]
pub struct TempFile {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl TempFile {
    /// A new file of mode 0600 in this folder, and a handle that writes and reads it. The folder is this program's alone: it is made if there is none (mode 0700),
    /// and what dead processes left in it is removed. Blocks.
    ///
    /// # Errors
    /// When the folder is somebody else's, or the disk fails.
    pub fn create(folder: &Path) -> io::Result<(Self, File)> {
        Staging::open(folder)?;
        let (folder_of, own) = (fs::metadata(folder)?, fs::metadata("/proc/self")?.uid());
        if folder_of.uid() != own || folder_of.mode() & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the folder for scratch files can be written by others",
            ));
        }
        create(folder)
    }

    /// Where it lies, as long as this value lives.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a staged upload could not be removed; the next start removes it");
        }
    }
}

/// The folder of staged uploads.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    folder: PathBuf,
}

impl Staging {
    /// Makes the folder (mode 0700) if there is none, and removes what dead processes left.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let staging = Self { folder: folder.to_owned() };
        let removed = staging.sweep()?;
        if removed > 0 {
            tracing::info!(removed, "removed uploads that were cut off when a process died");
        }
        Ok(staging)
    }

    fn sweep(&self) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            if path.extension().is_none_or(|e| e != SUFFIX) || !entry.file_type()?.is_file() {
                continue;
            }
            // Gone meanwhile: its owner finished, or another process is sweeping, too.
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            match file.try_lock() {
                Ok(()) => match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => removed += 1,
                },
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Writes a stream to a new file. Over `limit` bytes, or on the stream's own error, nothing stays.
    pub(super) async fn stage<S, E>(&self, stream: S, limit: u64) -> Result<Staged, PackageError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let folder = self.folder.clone();
        let created = tokio::task::spawn_blocking(move || create(&folder)).await;
        let (temp, writer) = created
            .map_err(io::Error::other)
            .and_then(|made| made)
            .map_err(PackageError::io("preparing for the upload"))?;
        let mut writer = tokio::fs::File::from_std(writer);
        let mut stream = pin!(stream);
        let mut hasher = Sha256::new();
        let mut size = 0u64;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| PackageError::Interrupted(error.into()))?;
            size = size.saturating_add(chunk.len() as u64);
            if size > limit {
                return Err(PackageError::TooLarge { limit });
            }
            hasher.update(&chunk);
            writer.write_all(&chunk).await.map_err(PackageError::io("writing the upload"))?;
        }
        writer.flush().await.map_err(PackageError::io("writing the upload"))?;
        // What is read back for the checks and the commit must be what the disk has.
        writer.sync_all().await.map_err(PackageError::io("writing the upload"))?;
        Ok(Staged { file: temp, size, sha256: hex(&hasher.finalize()) })
    }
}

/// A new, locked file of mode 0600 with a name that nobody chose.
fn create(folder: &Path) -> io::Result<(TempFile, File)> {
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        let mut name = [0; 16];
        clock::random_bytes(&mut name);
        let path = folder.join(hex(&name)).with_extension(SUFFIX);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // Between create and lock a sweep may take the file for an orphan: then take another.
        if file.try_lock().is_ok() && file.metadata()?.nlink() > 0 {
            let writer = file.try_clone()?;
            return Ok((TempFile { path, _lock: file }, writer));
        }
    }
    Err(io::Error::other("the staging folder is being swept again and again"))
}
