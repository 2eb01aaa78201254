//! Folders for an experiment, removed behind it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// A folder that other OS users may pass through.
#[derive(Debug)]
pub struct Scratch {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Scratch {
    /// A new one; `name` is a part of its name.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(name: &str) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("slipway-{name}-")).tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self { path: folder.path().to_owned(), folder: Some(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it, as text.
    pub fn at(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// It stays, for reading.
    pub fn keep(&mut self) -> &Path {
        if let Some(folder) = self.folder.take() {
            let _ = folder.keep();
        }
        &self.path
    }
}
