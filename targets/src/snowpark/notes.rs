//! What a run remembers, as notes in its journal.

use engine::ids::RunId;
use serde::{Deserialize, Serialize};

use super::{mark::Mark, site::Service};
pub(super) use crate::managed::notes::{read, write};
use crate::snowflake::ident::Ident;

/// [`Prior`]: what there was before this run changed anything. Written once.
pub(super) const PRIOR: &str = "prior";
/// The image that was pushed: [`Pushed`].
pub(super) const PUSHED: &str = "pushed";
/// Since when containers are waited for: [`Waiting`].
pub(super) const WAITING: &str = "waiting";
/// The statement that was submitted last: [`super::session::Submitted`].
pub(super) const STATEMENT: &str = "statement";
/// True once a restore put the specification and the settings of before back.
pub(super) const PUT_BACK: &str = "putBack";
/// True once an update set a service right that was not as its mark says.
pub(super) const MENDED: &str = "mended";
/// True once this run asked for something that changes the service.
pub(super) const CHANGED: &str = "changed";
/// The run that made or changed the service.
pub(super) const ALTERED: &str = "altered";
/// Which run restarts a service that it found failed, and whether it rests by now.
pub(super) const RESTARTED: &str = "restarted";

/// The service before this run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Prior {
    /// None: it was not there.
    pub(super) service: Option<Service>,
    pub(super) mark: Option<Mark>,
    /// The roles that might call its function, by their names; None where that was not looked at.
    pub(super) callers: Option<Vec<String>>,
    /// The roles that might reach its endpoint.
    pub(super) endpoint_users: Option<Vec<String>>,
}

/// Names as notes keep them.
pub(super) fn names(roles: &[Ident]) -> Vec<String> {
    roles.iter().map(|role| role.as_str().to_owned()).collect()
}

/// The same, read.
pub(super) fn roles(names: &[String]) -> Vec<Ident> {
    names.iter().filter_map(|name| Ident::exact(name).ok()).collect()
}

/// An image in the repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pushed {
    pub(super) tag: String,
    /// None where the repository does not tell.
    pub(super) digest: Option<String>,
}

/// What is waited for, since when by the database's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// By which run: one that inherits the note waits anew.
    #[serde(default)]
    pub(super) run: Option<RunId>,
    pub(super) content: String,
    pub(super) since: i64,
}
