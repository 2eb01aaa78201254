//! What can go wrong with packages: a code, and a sentence for the user.

use std::{error::Error, io};

use crate::{failure::Code, location::LocationError};

/// An error of the package store. `Display` is for the user; the source is for the log.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The upload grew over the limit. Nothing was kept.
    #[error(
        "The upload is larger than the limit of {limit} bytes. Make the package smaller, or ask an administrator to raise the limit."
    )]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The client went away, or sent something unreadable. Nothing was kept.
    #[error("The upload ended before it was complete. Nothing was stored; send it again.")]
    Interrupted(#[source] Box<dyn Error + Send + Sync>),
    /// No package under this key.
    #[error("The package is no longer in the package store. Upload it again.")]
    NotFound,
    /// What the store gave back is not what was put in.
    #[error(
        "The stored package is damaged: its content is not what was uploaded. Restore the package store from a backup, or upload the package again."
    )]
    Corrupt,
    /// The text is no key of this store.
    #[error("This is not the key of a stored package.")]
    KeyInvalid,
    /// The configuration names no place where packages can be.
    #[error("packages.location: {0}")]
    Location(#[from] LocationError),
    /// The disk is full.
    #[error("The package store has no room left. Ask an operator to free space, then try again.")]
    Full(#[source] io::Error),
    /// The store, or the staging folder, failed.
    #[error("The package store failed while {doing}. Try again; if it goes on, tell an operator.")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// What the store said: for the log.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl PackageError {
    /// The stable name, each with its page in `docs/errors`.
    pub fn code(&self) -> Code {
        Code::new(match self {
            Self::TooLarge { .. } => "PACKAGE_TOO_LARGE",
            Self::Interrupted(_) => "UPLOAD_INTERRUPTED",
            Self::NotFound => "PACKAGE_NOT_FOUND",
            Self::Corrupt => "PACKAGE_CORRUPT",
            Self::KeyInvalid => "PACKAGE_KEY_INVALID",
            Self::Location(LocationError::Unsupported { .. }) => "PACKAGE_STORE_UNSUPPORTED",
            Self::Location(LocationError::Invalid { .. }) => "PACKAGE_STORE_UNUSABLE",
            Self::Full(_) => "PACKAGE_STORE_FULL",
            Self::Failed { .. } => "PACKAGE_STORE_FAILED",
        })
    }

    /// Sorts a failure of the file system.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Failed { doing, source: error.into() },
        }
    }

    /// Sorts a failure of the object store.
    pub(super) fn store(doing: &'static str) -> impl FnOnce(object_store::Error) -> Self {
        move |error| match error {
            object_store::Error::NotFound { .. } => Self::NotFound,
            other if is_full(&other) => Self::Full(io::Error::new(io::ErrorKind::StorageFull, other)),
            other => Self::Failed { doing, source: other.into() },
        }
    }
}

/// Whether a full disk is at the bottom of an error: the object store wraps what the file system said.
fn is_full(error: &object_store::Error) -> bool {
    let first: &(dyn Error + 'static) = error;
    let mut chain = std::iter::successors(Some(first), |error| (*error).source());
    chain.any(|error| {
        let error = error.downcast_ref::<io::Error>();
        error.is_some_and(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_found_under_what_the_object_store_says_of_it() {
        let wrapped = |kind: io::ErrorKind| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(object_store::Error::Generic { store: "inner", source: Box::new(io::Error::from(kind)) }),
        };
        let sorted = |kind| PackageError::store("storing the package")(wrapped(kind)).code().as_str().to_owned();
        assert_eq!(sorted(io::ErrorKind::StorageFull), "PACKAGE_STORE_FULL");
        assert_eq!(sorted(io::ErrorKind::PermissionDenied), "PACKAGE_STORE_FAILED");
    }
}
