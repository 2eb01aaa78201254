//! Folders of a test: removed when it passed, kept and named when it failed.

use std::{
    fs,
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
    /// # Panics
    /// When it can't be made.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix(&format!("slipway-{name}-")).tempdir().expect("a scratch folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { path: folder.path().to_owned(), folder: Some(folder) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it, as text.
    ///
    /// # Panics
    /// Never: temporary folders have names of ours.
    pub fn at(&self, name: &str) -> String {
        self.path.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    #[expect(clippy::print_stderr, reason = "whoever reads the failed test needs the path")]
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("kept for reading: {}", folder.keep().display());
        }
    }
}
