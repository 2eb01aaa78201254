//! The deployer's rules. Every function takes a [`viewer::Viewer`] and refuses before it reads; rights live here and nowhere else, so that
//! neither GraphQL, REST nor a worker can forget them.
//!
//! * [`error`], [`paging`], [`names`]: what all operations share.
//! * [`viewer`]: who asks. `still`: whether they are who they were, when the change is made.
//! * [`rights`]: what a viewer may do, and nowhere else.
//! * [`accounts`] (users and groups), [`keys`] (API keys, authentication), [`bootstrap`] (the first administrator, and the operator's calls).
//! * [`stages`], [`infrastructures`], [`hooks`]: where things are deployed to, and what runs around it.
//! * [`connections`]: the credentials with which platforms are reached.
//! * [`enrolment`]: nodes that register themselves.
//! * [`pools`]: slots, as people see them. [`workers`]: the processes, as operators see them.
//! * [`sealed`], [`rotate`]: secrets at rest. [`schema`]: settings that a JSON Schema describes, and their secrets.
//! * `again`: transactions that lost to another one. `text`: what texts from outside may look like. `versions`: of what several people edit.
//! * [`archive`]: reading a package that somebody uploaded.
//! * [`projects`], [`bundles`]: what can be deployed. [`deployments`]: what is to be where.
//! * [`services`]: published API services and their versions. `halves`: what they share with projects.
//! * [`updates`]: executions that make deployments so; [`freeze`] makes their specs, [`preview`] tells what one would change.
//! * [`drift`]: what is otherwise on the node than an update left it. [`testing`]: test scenarios.
//! * [`status`]: how a deployment is; `live`: what its updates left on the node.
//! * [`audit`]: a record of each change, and of each that was refused.
//! * [`governance`], [`standards`]: whether a bundle may be deployed.
//! * `platform`: what an infrastructure's target is, and how it opens secrets.
//! * [`policy`], [`imports`]: what a worker asks of us.

pub mod accounts;
mod again;
pub mod archive;
pub mod audit;
pub mod bootstrap;
pub mod bundles;
pub mod connections;
pub mod contents;
pub mod deployments;
pub mod drift;
pub mod enrolment;
pub mod error;
pub mod freeze;
pub mod governance;
mod halves;
pub mod hooks;
pub mod imports;
pub mod infrastructures;
pub mod kept;
pub mod keys;
mod live;
pub mod names;
mod nested;
pub mod paging;
mod platform;
pub mod policy;
pub mod pools;
pub mod preview;
pub mod projects;
pub mod rights;
pub mod rotate;
pub mod schema;
pub mod sealed;
pub mod services;
pub mod stages;
pub mod standards;
pub mod status;
mod still;
pub mod testing;
mod text;
pub mod updates;
mod versions;
pub mod viewer;
pub mod workers;

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
    /// Where queries that go through this process are logged.
    pub query_logs: services::QueryLogs,
    /// What this process counts for the audit.
    pub audit: audit::Ledger,
}
