//! A practice node: described, built, started, stopped, started again with what it knew.

use crate::auth::{Claim, Holder, KeyKind, Keys};
use crate::desk::Desk;
use crate::manifest::Manifest;
use crate::practice::Practice;
use crate::reply::Answer;
use crate::request::{Asked, Place, segments};
use crate::running::Running;
use crate::state::{ADMINISTRATORS, Connection, Folder, ROOT, State, User};
use crate::{router, snapshot};
use poem::{Body, Request};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(crate) desk: Desk,
}

impl Core {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Practice for Core {
    const PAGE: &'static str = "<!DOCTYPE html><html><head><title>Practice node</title></head><body><h1>Practice node</h1>\
<p>A practice Automation node. Its API is under <code>/dip/publicapi</code> and <code>/public/api</code>.</p></body></html>";

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn version(&self) -> &str {
        &self.config.version
    }

    fn max_upload(&self) -> u64 {
        self.config.max_upload
    }

    /// Both bases are the same API.
    fn place(path: &str) -> Place {
        let segments = segments(path);
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["dip", "publicapi", ..] | ["public", "api", ..] => Place::Api(segments[2..].to_vec()),
            ["sandbox", ..] => Place::Control(segments[1..].to_vec()),
            _ => Place::Pages,
        }
    }

    fn caller(&self, claim: &Claim, _segments: &[String]) -> (KeyKind, Option<String>) {
        let state = self.state();
        let who = claim.check(&self.config.keys, &state).ok();
        (claim.kind(&self.config.keys, &state), who.map(|who| who.identity))
    }

    async fn answer(asked: &Asked<'_>, claim: &Claim, request: Request, body: &mut Option<Body>) -> Answer {
        let who = claim.check(&asked.core.config.keys, &asked.core.state())?;
        router::answer(asked, &who, request, body).await
    }

    fn snapshot(&self) -> Value {
        snapshot::of(self)
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
        Node { core: Arc::new(Core { config, state, desk: Desk::default() }) }
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
        Running::start(self.clone(), Arc::clone(&self.core), listen).await
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
pub type RunningNode = Running<Node>;

impl Deref for Node {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.core.desk
    }
}
