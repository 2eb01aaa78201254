//! Describing an API node.

use super::events::Events;
use super::state::State;
use super::{ApiCore, ApiNode, RunningApiNode};
use crate::calls::Calls;
use crate::desk::Desk;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The most calls in its log: queries come by the thousand.
const CALLS: usize = 10_000;

/// Describes an API node. Nothing is on it; it imports from no folder and is alive.
pub struct ApiNodeBuilder {
    node_id: String,
    version: String,
    folders: Vec<PathBuf>,
    state: State,
}

impl ApiNodeBuilder {
    pub(super) fn new() -> Self {
        Self {
            node_id: "practice-api".to_owned(),
            version: "14.2.0".to_owned(),
            folders: Vec::new(),
            state: State::default(),
        }
    }

    /// The node's id; `practice-api` when not set.
    #[must_use]
    pub fn node_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.node_id);
        self
    }

    /// The version that the node claims to be.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// A key of the admin API.
    #[must_use]
    pub fn admin_key(mut self, secret: &str) -> Self {
        self.state.keys.given(secret);
        self
    }

    /// A folder that service versions may be imported from, with all folders in it.
    #[must_use]
    pub fn packages(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// What `GET /isAlive/` answers; alive when not set.
    #[must_use]
    pub fn alive(mut self, alive: bool) -> Self {
        self.state.alive = alive;
        self
    }

    /// The node, not listening yet.
    ///
    /// # Errors
    /// When a folder of packages is not there.
    pub fn build(self) -> io::Result<ApiNode> {
        let real = |folder: &PathBuf| {
            std::fs::canonicalize(folder)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
        };
        let core = ApiCore {
            node_id: self.node_id,
            version: self.version,
            folders: self.folders.iter().map(real).collect::<io::Result<_>>()?,
            state: Mutex::new(self.state),
            events: Events::default(),
            desk: Desk { calls: Calls::keeping(CALLS), faults: Arc::default() },
        };
        Ok(ApiNode { core: Arc::new(core) })
    }

    /// Builds the node and starts it.
    ///
    /// # Errors
    /// When a folder of packages is not there, or it can't listen there.
    pub async fn start(self, listen: SocketAddr) -> io::Result<RunningApiNode> {
        self.build()?.start(listen).await
    }
}
