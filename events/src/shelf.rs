//! Where event files lie: whole files that are never changed. A file is there complete and durable, or not at all.

mod folder;
mod objects;

use std::{fmt, io};

use async_trait::async_trait;
use bytes::Bytes;

pub use folder::Folder;
pub(crate) use folder::sync as sync_folder;
pub use objects::Objects;

/// A place for files. Paths are relative, their parts are folders of [`crate::name`] or numbers.
#[async_trait]
pub trait Shelf: fmt::Debug + Send + Sync {
    /// Puts a file whose path is new. When this returns it is complete and survives the loss of power; until then no reader sees it. Answers how often a disk was
    /// asked to confirm.
    ///
    /// # Errors
    /// What the store said. The file may be there all the same.
    async fn put(&self, path: &str, content: Bytes) -> io::Result<u64>;

    /// Removes a file for good; one that is not there is removed already.
    ///
    /// # Errors
    /// What the store said.
    async fn remove(&self, path: &str) -> io::Result<()>;

    /// Whether a file may still appear when the process that was putting it is dead.
    fn lingers(&self) -> bool;

    /// Whether there is a file.
    ///
    /// # Errors
    /// What the store said.
    async fn exists(&self, path: &str) -> io::Result<bool>;
}
