//! What every target is made with: the one HTTP client, and what the operator of this process says.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::http::Http;

/// What every target is made with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The one HTTP client.
    pub http: Http,
    /// What the operator says.
    pub host: Arc<HostSettings>,
}

/// What the operator of a process gives targets to work with. An infrastructure's administrator names things of here, and never types a command or a path of the
/// worker's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// Where packages and layers are unpacked and put together; empty is the system's folder for temporary files.
    pub scratch: PathBuf,
    /// The program that goes into images as their front; empty is the running one.
    pub front: PathBuf,
    /// Ways to copy a package to an API node's disk, by name: a program and its arguments, in which `{file}`, `{host}` and `{target}` are replaced. No shell reads them.
    pub copy_commands: BTreeMap<String, Vec<String>>,
    /// The program, and its first arguments, under which copy commands are run, so that none outlives this process; empty runs them alone. No setting of an operator's.
    #[serde(skip)]
    pub copy_supervisor: Vec<String>,
    /// Folders that API nodes share with this process, by name: the folder as this process sees it.
    pub shared_folders: BTreeMap<String, PathBuf>,
    /// Whether connections may use the cloud identity of the machine itself (its environment, credentials files, web identity, container or instance role). Off: who
    /// administers a connection must not borrow what the operator gave to the workers.
    pub ambient_cloud_credentials: bool,
    /// Beside the clouds' own addresses: base URLs that this identity may be sent to.
    pub ambient_endpoints: Vec<String>,
    /// Where the queries that go through the deployer are logged, for services that log to files; empty is the folder `slipway-query-logs` in the system's folder for
    /// temporary files.
    pub query_logs: PathBuf,
    /// Azure's federated token of the machine; empty is what `AZURE_FEDERATED_TOKEN_FILE` says.
    pub federated_token_file: PathBuf,
    /// Google's credentials of the machine; empty is what `GOOGLE_APPLICATION_CREDENTIALS` says.
    pub google_credentials_file: PathBuf,
}

impl HostSettings {
    /// The folder for log files of queries.
    pub fn query_logs(&self) -> PathBuf {
        if self.query_logs.as_os_str().is_empty() {
            return std::env::temp_dir().join("slipway-query-logs");
        }
        self.query_logs.clone()
    }

    /// The folder for what is put together.
    pub fn scratch(&self) -> PathBuf {
        if self.scratch.as_os_str().is_empty() { std::env::temp_dir() } else { self.scratch.clone() }
    }
}

/// Where scratch files lie in a scratch folder: a folder of mode 0700, this program's alone, from which what dead processes left is removed.
pub(crate) fn own_folder(scratch: &Path) -> PathBuf {
    scratch.join("slipway-packages")
}
