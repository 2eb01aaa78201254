//! A folder that this worker and the API node share. A package is written under another name, made durable, and then gets its own: the node never sees half of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use engine::{
    clock,
    failure::{Failure, StepError},
};
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::{failed, problem, undeclared};
use crate::{
    service_package::{ServicePackage, hex, package_failed},
    target::Problem,
    tools::HostSettings,
};

/// Readable by the folder's group: the API node is another user than the worker. A package may hold the keys of its callers.
const MODE: u32 = 0o640;
const PIECE: usize = 256 * 1024;

/// A shared folder.
pub(in crate::api_static) struct Shared {
    /// As this worker sees it; why not, if the worker does not have it.
    here: Result<PathBuf, Failure>,
    name: String,
    /// As the node sees it.
    there: String,
}

impl Shared {
    pub(super) fn new(host: &HostSettings, name: String, there: String) -> Self {
        let here = host.shared_folders.get(&name).cloned();
        let here = here.ok_or_else(|| undeclared("shared folder", &name, &host.shared_folders));
        Self { here, name, there }
    }

    pub(super) async fn problems(&self) -> Result<Vec<Problem>, StepError> {
        let here = match &self.here {
            Ok(here) => here.clone(),
            Err(failure) => return Ok(vec![problem(failure.clone())]),
        };
        let tried = blocking(move || {
            let (temp, _) = Temp::create(&here, "slipway-check")?;
            drop(temp);
            Ok(())
        });
        Ok(tried.await.err().map(|error| problem(self.broken("written to", &error))).into_iter().collect())
    }

    pub(super) async fn put(&self, name: &str, package: &ServicePackage) -> Result<String, StepError> {
        let folder = self.here.clone()?;
        let there = format!("{}/{name}", self.there);
        let path = folder.join(name);
        let (looked, size, sha256) = (path.clone(), package.size, package.sha256.clone());
        if blocking(move || is_there(&looked, size, &sha256)).await.map_err(|error| self.retried("read", &error))? {
            return Ok(there);
        }
        let stem = name.to_owned();
        let made = blocking(move || Temp::create(&folder, &stem)).await;
        let (temp, file) = made.map_err(|error| self.retried("written to", &error))?;
        let mut file = tokio::fs::File::from_std(file);
        let mut content = package.open_at(0).await?;
        while let Some(piece) = content.try_next().await.map_err(package_failed)? {
            file.write_all(&piece).await.map_err(|error| self.retried("written to", &error))?;
        }
        file.flush().await.map_err(|error| self.retried("written to", &error))?;
        file.sync_all().await.map_err(|error| self.retried("written to", &error))?;
        blocking(move || temp.becomes(&path)).await.map_err(|error| self.retried("written to", &error))?;
        Ok(there)
    }

    pub(super) async fn remove(&self, prefix: &str, keep: &[String]) -> Result<(), StepError> {
        let (folder, prefix, keep) = (self.here.clone()?, prefix.to_owned(), keep.to_vec());
        let removed = blocking(move || {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.starts_with(&prefix) || keep.contains(&name) || !entry.file_type()?.is_file() {
                    continue;
                }
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        });
        removed.await.map_err(|error| self.retried("cleaned up", &error))
    }

    fn broken(&self, what: &str, error: &io::Error) -> Failure {
        let message = format!(
            "The shared folder \"{}\" can't be {what} by this worker. Ask an operator to look at it.",
            self.name
        );
        failed(message, error.to_string())
    }

    fn retried(&self, what: &str, error: &io::Error) -> StepError {
        self.broken(what, error).retryable(None)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Whether the file is there, whole.
fn is_there(path: &Path, size: u64, sha256: &str) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => {
            let found = found?;
            if !found.is_file() || found.len() != size {
                return Ok(false);
            }
        }
    }
    let (mut file, mut hasher, mut piece) = (File::open(path)?, Sha256::new(), vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()) == sha256);
        }
        hasher.update(&piece[..read]);
    }
}

/// A file on its way in; it goes unless it becomes what it is to be.
struct Temp {
    path: PathBuf,
    done: bool,
}

impl Temp {
    fn create(folder: &Path, stem: &str) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{stem}.{:016x}.part", clock::random_u64()));
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path)?;
        Ok((Self { path, done: false }, file))
    }

    fn becomes(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.done = true;
        // The name is durable with its folder.
        File::open(path.parent().unwrap_or(path))?.sync_all()
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "an unfinished package in a shared folder could not be removed; a later update removes it");
        }
    }
}
