//! The deployer's rules. Every function takes a [`viewer::Viewer`] and refuses before it reads; rights live here and nowhere else, so that
//! neither GraphQL, REST nor a worker can forget them.
//!
//! * [`error`], [`paging`], [`names`]: what all operations share.
//! * [`viewer`]: who asks.
//! * [`archive`]: reading a package that somebody uploaded.

pub mod archive;
pub mod error;
pub mod names;
pub mod paging;
pub mod viewer;

use std::sync::Arc;

use engine::{db::Db, packages::PackageStore, queue::Queue, secrets::Keyring};
use targets::Targets;

/// What every operation works with. Cheap to clone.
#[derive(Clone)]
pub struct Deployer {
    /// The truth.
    pub db: Db,
    /// Seals what is secret.
    pub keyring: Arc<Keyring>,
    /// Where packages lie.
    pub packages: Arc<PackageStore>,
    /// The platforms.
    pub targets: Arc<Targets>,
    /// Wakes workers up.
    pub queue: Queue,
}
