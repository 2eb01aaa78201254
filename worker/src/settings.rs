//! What an operator sets for a worker.

use std::{collections::BTreeMap, path::PathBuf};

use deployer::drift::DriftSettings;
use engine::{leases::LeaseSettings, runs::retain::Retention};
use serde::{Deserialize, Serialize};

/// A worker's part of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// For people; host name and process id when empty.
    pub name: String,
    /// How many updates this process works on at once.
    pub seats: usize,
    /// Lease and heartbeat.
    pub lease: LeaseSettings,
    /// How often lost bells are made good, in milliseconds.
    pub sweep_ms: u64,
    /// After SIGTERM, steps under way get this long to end, in milliseconds.
    pub drain_ms: u64,
    /// Hooks.
    pub hooks: HookSettings,
    /// How long runs that have ended are kept: a table of its own, since it is the installation's, not this worker's.
    #[serde(skip)]
    pub retention: Retention,
    /// How often nodes are compared with their last updates: the installation's, too.
    #[serde(skip)]
    pub drift: DriftSettings,
}

/// How this worker runs hooks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSettings {
    /// The interpreter of hooks that name no code env. Empty: this worker runs none of those.
    pub python: String,
    /// Code envs by name, each with its Python interpreter.
    #[serde(default)]
    pub code_envs: BTreeMap<String, PathBuf>,
    /// OS users as whom hooks may run here.
    #[serde(default)]
    pub os_users: Vec<String>,
    /// Where hooks get their scratch directories; empty is the system's temporary directory.
    pub scratch: String,
    /// Passed to hooks as `http_proxy`; likewise the others.
    #[serde(default)]
    pub http_proxy: Option<String>,
    /// See `http_proxy`.
    #[serde(default)]
    pub https_proxy: Option<String>,
    /// See `http_proxy`.
    #[serde(default)]
    pub no_proxy: Option<String>,
    /// A file of certificates for hooks' clients.
    #[serde(default)]
    pub ca_bundle: Option<String>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            seats: 64,
            lease: LeaseSettings::default(),
            sweep_ms: 2_000,
            drain_ms: 300_000,
            hooks: HookSettings::default(),
            retention: Retention::default(),
            drift: DriftSettings::default(),
        }
    }
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            python: "python3".to_owned(),
            code_envs: BTreeMap::new(),
            os_users: Vec::new(),
            scratch: String::new(),
            http_proxy: None,
            https_proxy: None,
            no_proxy: None,
            ca_bundle: None,
        }
    }
}

impl HookSettings {
    /// The interpreter of a code env: the program itself. None when this worker does not have it.
    pub fn interpreter(&self, code_env: Option<&str>) -> Option<PathBuf> {
        match code_env {
            Some(name) => self.code_envs.get(name).cloned(),
            None if self.python.is_empty() => None,
            None => find_program(&self.python),
        }
    }
}

/// A program by its path, or by its name in PATH.
fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
