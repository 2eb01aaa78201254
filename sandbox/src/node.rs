//! A practice node: described, built, started, stopped, started again with what it knew.

use crate::armed::{FaultHandle, Faults};
use crate::auth::{Holder, Keys};
use crate::calls::{Call, Calls};
use crate::faults::Fault;
use crate::manifest::Manifest;
use crate::serve::Door;
use crate::snapshot;
use crate::socket::{PlugAcceptor, Plugs};
use crate::state::{ADMINISTRATORS, Connection, Folder, ROOT, State, User};
use poem::Server;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a node is made with and keeps for its life.
pub(crate) struct Config {
    pub(crate) node_id: String,
    pub(crate) version: String,
    pub(crate) keys: Keys,
    pub(crate) webapp_run_as: String,
    pub(crate) max_upload: u64,
    pub(crate) scratch: Option<PathBuf>,
}

/// All of a node but its connections.
pub(crate) struct Core {
    pub(crate) config: Config,
    state: Mutex<State>,
    pub(crate) calls: Calls,
    pub(crate) faults: Faults,
}

impl Core {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Describes a node. Nothing is on it but the group `administrators`.
pub struct Builder {
    config: Config,
    state: State,
}

impl Builder {
    fn new() -> Self {
        let mut state = State::default();
        state.groups.insert(ADMINISTRATORS.to_owned());
        state.folders.insert(ROOT.to_owned(), Folder { name: None, parent: None });
        let config = Config {
            node_id: "practice".to_owned(),
            version: "14.2.0".to_owned(),
            keys: Keys::default(),
            webapp_run_as: "runAsUser".to_owned(),
            max_upload: 16 * 1024 * 1024 * 1024,
            scratch: None,
        };
        Self { config, state }
    }

    /// The node's id and name; `practice` when not set.
    #[must_use]
    pub fn node_id(mut self, id: &str) -> Self {
        self.config.node_id = id.to_owned();
        self
    }

    /// The version that the node claims to be.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.config.version = version.to_owned();
        self
    }

    /// A user. Groups that are not there yet are made; an administrator is a member of `administrators`.
    #[must_use]
    pub fn user(mut self, login: &str, groups: &[&str], admin: bool) -> Self {
        add_user(&mut self.state, login, groups, admin);
        self
    }

    /// Disables a user that was described before.
    #[must_use]
    pub fn disabled(mut self, login: &str) -> Self {
        if let Some(user) = self.state.users.get_mut(login) {
            user.enabled = false;
        }
        self
    }

    /// A group without members.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        self.state.groups.insert(name.to_owned());
        self
    }

    /// A connection that everybody may use, such as `("sql-prod", "PostgreSQL")`.
    #[must_use]
    pub fn connection(mut self, name: &str, kind: &str) -> Self {
        self.state.connections.insert(name.to_owned(), Connection { kind: kind.to_owned(), allowed: None });
        self
    }

    /// A connection that only these groups may use.
    #[must_use]
    pub fn restricted_connection(mut self, name: &str, kind: &str, groups: &[&str]) -> Self {
        let allowed = Some(groups.iter().map(|group| (*group).to_owned()).collect());
        self.state.connections.insert(name.to_owned(), Connection { kind: kind.to_owned(), allowed });
        self
    }

    /// All connections that this bundle uses, under their own names, so that it can be activated without a remapping.
    ///
    /// # Errors
    /// A sentence, when the file is no bundle.
    pub fn ready_for(mut self, bundle: File) -> Result<Self, String> {
        for used in Manifest::read(bundle).map_err(|refusal| refusal.message)?.connections {
            self = self.connection(&used.name, &used.kind);
        }
        Ok(self)
    }

    /// A code env that is there already. Preloading a bundle installs those that are missing.
    #[must_use]
    pub fn code_env(mut self, name: &str) -> Self {
        self.state.code_envs.insert(name.to_owned());
        self
    }

    /// A global key with the rights of an administrator.
    #[must_use]
    pub fn admin_key(mut self, secret: &str) -> Self {
        let label = format!("admin-{}", self.config.keys.0.len() + 1);
        self.config.keys.0.insert(secret.to_owned(), Holder::Admin(label));
        self
    }

    /// A user's personal key.
    #[must_use]
    pub fn user_key(mut self, secret: &str, login: &str) -> Self {
        self.config.keys.0.insert(secret.to_owned(), Holder::User(login.to_owned()));
        self
    }

    /// The name of the field that holds a web app's run-as user; `runAsUser` when not set.
    #[must_use]
    pub fn webapp_run_as_field(mut self, name: &str) -> Self {
        self.config.webapp_run_as = name.to_owned();
        self
    }

    /// The largest upload, in bytes; 16 GiB when not set.
    #[must_use]
    pub fn max_upload(mut self, bytes: u64) -> Self {
        self.config.max_upload = bytes;
        self
    }

    /// The folder for uploads in progress; the system's when not set.
    #[must_use]
    pub fn scratch_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.scratch = Some(folder.into());
        self
    }

    /// The node, not listening yet.
    pub fn build(self) -> Node {
        let Self { config, state } = self;
        let state = Mutex::new(state);
        Node { core: Arc::new(Core { config, state, calls: Calls::default(), faults: Faults::default() }) }
    }

    /// Builds the node and starts it.
    ///
    /// # Errors
    /// When it can't listen there.
    pub async fn start(self, listen: SocketAddr) -> io::Result<RunningNode> {
        self.build().start(listen).await
    }
}

fn add_user(state: &mut State, login: &str, groups: &[&str], admin: bool) {
    let mut groups: BTreeSet<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    if admin {
        groups.insert(ADMINISTRATORS.to_owned());
    }
    state.groups.extend(groups.iter().cloned());
    state.users.insert(login.to_owned(), User { groups, enabled: true });
}

/// A node, listening or not: its state, its log of calls, its faults. Cheap to clone; all clones are the same node.
#[derive(Clone)]
pub struct Node {
    pub(crate) core: Arc<Core>,
}

impl Node {
    /// Describes a node.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts listening; port 0 takes a free one. Runs as a task of the current tokio runtime.
    ///
    /// # Errors
    /// When it can't listen there.
    pub async fn start(&self, listen: SocketAddr) -> io::Result<RunningNode> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let plugs = Arc::new(Plugs::default());
        let stop = CancellationToken::new();
        let door = Door { core: Arc::clone(&self.core), plugs: Arc::clone(&plugs), stop: stop.clone() };
        let acceptor = PlugAcceptor { listener, plugs: Arc::clone(&plugs) };
        let signal = stop.clone().cancelled_owned();
        let server = Server::new_with_acceptor(acceptor);
        let task = tokio::spawn(server.run_with_graceful_shutdown(door, signal, Some(Duration::ZERO)));
        Ok(RunningNode { node: self.clone(), addr, plugs, stop, task: Some(task) })
    }

    /// The log of calls, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.core.calls.all()
    }

    /// Empties the log of calls.
    pub fn clear_calls(&self) {
        self.core.calls.clear();
    }

    /// Waits until the log of calls satisfies `enough`, and returns it.
    pub async fn until_calls(&self, enough: impl FnMut(&[Call]) -> bool) -> Vec<Call> {
        self.core.calls.until(enough).await
    }

    /// Arms a fault. Of several that match a call, the one armed first does its work.
    ///
    /// # Errors
    /// A sentence, when the fault makes no sense.
    pub fn arm(&self, fault: Fault) -> Result<FaultHandle, String> {
        let (id, armed) = self.core.faults.arm(fault)?;
        Ok(FaultHandle { id, armed, core: Arc::clone(&self.core) })
    }

    /// Disarms all faults; held calls go on.
    pub fn disarm_all(&self) {
        self.core.faults.clear();
    }

    /// The end state: per project its bundles, active bundle, settings, variables, permissions, scenarios and web
    /// apps. Without times and version numbers, so that two walks to the same end compare equal.
    pub fn snapshot(&self) -> Value {
        snapshot::of(&self.core)
    }

    /// Adds a connection, or changes its type.
    pub fn set_connection(&self, name: &str, kind: &str) {
        let connection = Connection { kind: kind.to_owned(), allowed: None };
        self.core.state().connections.insert(name.to_owned(), connection);
    }

    /// Removes a connection.
    pub fn remove_connection(&self, name: &str) {
        self.core.state().connections.remove(name);
    }

    /// Adds a user, or replaces it.
    pub fn set_user(&self, login: &str, groups: &[&str], admin: bool) {
        add_user(&mut self.core.state(), login, groups, admin);
    }

    /// Removes a user.
    pub fn remove_user(&self, login: &str) {
        self.core.state().users.remove(login);
    }

    /// Revokes a key, for good.
    pub fn revoke_key(&self, secret: &str) {
        self.core.state().revoked_keys.insert(secret.to_owned());
    }

    /// Ends all runs of a scenario that go on, with this outcome.
    pub fn end_runs(&self, project: &str, scenario: &str, outcome: &str) {
        let mut state = self.core.state();
        let scenario = state.projects.get_mut(project).and_then(|project| project.scenarios.get_mut(scenario));
        for run in scenario.into_iter().flat_map(|scenario| &mut scenario.runs).filter(|run| !run.has_ended()) {
            outcome.clone_into(&mut run.outcome);
        }
    }

    /// The outcome (SUCCESS, WARNING, FAILED, ABORTED; RUNNING until [`Self::end_runs`]) of a scenario's next runs; SUCCESS
    /// when never set.
    pub fn set_outcome(&self, project: &str, scenario: &str, outcome: &str) {
        self.core.state().outcomes.insert((project.to_owned(), scenario.to_owned()), outcome.to_owned());
    }
}

/// A node that listens, until it is stopped or dropped.
pub struct RunningNode {
    node: Node,
    addr: SocketAddr,
    plugs: Arc<Plugs>,
    stop: CancellationToken,
    task: Option<JoinHandle<io::Result<()>>>,
}

impl RunningNode {
    /// The address to give to a client, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The node itself.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Goes down at once, as a machine does: connections are reset, calls under way end without further effect, the
    /// port is free. The node that is returned knows what it knew, and can be started again.
    pub async fn stop(mut self) -> Node {
        self.pull();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the practice node did not end well");
        }
        self.node.clone()
    }

    fn pull(&self) {
        self.stop.cancel();
        self.plugs.pull_all();
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.pull();
    }
}

impl Deref for RunningNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}
