//! The package store: where bundles and service versions lie, whole and unchanged, however large they are.
//!
//! A package arrives in two moves. [`PackageStore::stage`] writes the upload to a local file, hashing as it goes, with constant memory; nothing is kept if it breaks
//! off or grows over the limit. Then the rules look at that file, and [`PackageStore::commit`] puts it into the store under a key made from its SHA-256. The same
//! content has the same key, so a repeated commit changes nothing, and [`PackageStore::open_package`] can tell when the store gives back something else.

mod error;
mod key;
mod staging;
mod store;

pub use error::PackageError;
pub use key::PackageKey;
pub use staging::{Staged, TempFile};
pub use store::{PackageStore, PackageStream};
