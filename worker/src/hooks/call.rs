//! What to run, and how to steer it while it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use engine::secrets::Secret;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::hook_exec::ProcessLimits;

/// One hook to run. Its `Debug` shows names and limits alone: code and arguments may hold secrets.
#[derive(Clone)]
pub struct HookCall {
    /// The program that supervises.
    pub supervisor: Supervisor,
    /// The code env's interpreter, Python 3.9 or later: the program itself, no wrapper that needs an environment.
    pub python: PathBuf,
    /// The code env's declared name, for messages.
    pub code_env: String,
    /// The OS user to run as: a name in `/etc/passwd`, or `uid:gid`. `None`: the worker's own.
    pub os_user: Option<String>,
    /// An existing directory; the hook gets a directory of its own in it, removed afterwards. The OS user must be able to pass through.
    pub scratch_root: PathBuf,
    /// What the hook may know of this machine's network.
    pub environment: HookEnvironment,
    /// The hook's name, for tracebacks.
    pub name: String,
    /// Python source with a function `execute`.
    pub code: String,
    /// What `execute` is given by keyword, besides its clients.
    pub arguments: HookArguments,
    /// Where `automation_client` leads; `None`: any use of it raises.
    pub automation: Option<ClientAccess>,
    /// Where the clients of `automation_nodes` lead, by the nodes' names; empty where there is one node, and then there is no such argument.
    pub nodes: BTreeMap<String, ClientAccess>,
    /// Where `deployer_client` leads, or why it leads nowhere: any use of it raises that.
    pub deployer: Result<ClientAccess, &'static str>,
    /// Bounds.
    pub limits: HookLimits,
    /// To mask in all that the hook says; the clients' keys are masked in any case.
    pub secrets: Vec<Secret>,
}

impl std::fmt::Debug for HookCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookCall")
            .field("name", &self.name)
            .field("code_env", &self.code_env)
            .field("os_user", &self.os_user)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// How to start the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervisor {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Supervisor {
    /// The program that runs now, called as `hook-exec`: also after its file was replaced by another version.
    pub fn this_program() -> Self {
        Self { program: "/proc/self/exe".into(), args: vec!["hook-exec".to_owned()] }
    }
}

/// Address and key of a Dataiku-compatible API.
#[derive(Debug, Clone)]
pub struct ClientAccess {
    /// Base address of the node or deployer.
    pub url: String,
    /// API key.
    pub key: Secret,
    /// Accept any certificate.
    pub no_check_certificate: bool,
}

/// The keyword arguments of `execute` (wire contract, section 5), the clients apart.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HookArguments {
    /// Login of who asked.
    pub requesting_user: String,
    /// Login under which the deployment is executed.
    pub deploying_user: String,
    /// The deployment.
    pub deployment_id: String,
    /// `None` before the deployment.
    pub deployment_report: Option<DeploymentReport>,
    /// The project's key on the node; `None` for API services.
    pub deployed_project_key: Option<String>,
    /// More, for functions that take `**kwargs` or name them (`idempotency_key`, `attempt`).
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What a post-deployment hook learns of the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentReport {
    /// `SUCCESS`, `WARNING` or `ERROR`.
    pub status: String,
    /// One text each.
    pub messages: Vec<String>,
}

/// The few environment variables that a hook is given besides PATH, HOME, TMPDIR, LANG and PYTHONUNBUFFERED.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookEnvironment {
    /// `http_proxy`, in both spellings.
    pub http_proxy: Option<String>,
    /// `https_proxy`, in both spellings.
    pub https_proxy: Option<String>,
    /// `no_proxy`, in both spellings.
    pub no_proxy: Option<String>,
    /// A file of certificates: `SSL_CERT_FILE` and `REQUESTS_CA_BUNDLE`.
    pub ca_bundle: Option<String>,
    /// `TZ`.
    pub timezone: Option<String>,
}

impl HookEnvironment {
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        [
            (&["http_proxy", "HTTP_PROXY"][..], &self.http_proxy),
            (&["https_proxy", "HTTPS_PROXY"], &self.https_proxy),
            (&["no_proxy", "NO_PROXY"], &self.no_proxy),
            (&["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"], &self.ca_bundle),
            (&["TZ"], &self.timezone),
        ]
        .into_iter()
        .filter_map(|(names, value)| value.as_ref().map(|value| (names, value)))
        .flat_map(|(names, value)| names.iter().map(|name| ((*name).to_owned(), value.clone())))
        .collect()
    }
}

/// Bounds of one hook. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookLimits {
    /// Step deadline, from the call on; the interpreter's start counts.
    pub deadline: Duration,
    /// Output that is kept, standard output and standard error together. The rest is read and dropped.
    pub output_bytes: u64,
    /// Lines that are kept.
    pub output_lines: u64,
    /// A longer line is cut.
    pub line_bytes: usize,
    /// A hook that writes more than this is ended ([`super::HookOutcome::OutputFlood`]).
    pub flood_bytes: u64,
    /// Of the hook's processes.
    pub process: ProcessLimits,
}

impl Default for HookLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(600),
            output_bytes: 4 << 20,
            output_lines: 20_000,
            line_bytes: 8 << 10,
            flood_bytes: 1 << 30,
            process: ProcessLimits::default(),
        }
    }
}

/// How the worker steers a running hook.
#[derive(Debug, Clone)]
pub struct HookControl {
    /// Until when the worker's lease surely holds, in absolute CLOCK_BOOTTIME nanoseconds ([`engine::clock::boottime_nanos`]): when the last
    /// confirmed heartbeat was *sent*, and the kill delay on top. The hook dies when it passes. Without a sender the last value stays.
    pub lease_deadline: watch::Receiver<i64>,
    /// Ends the hook.
    pub cancel: CancellationToken,
}

impl HookCall {
    /// What the runner is given.
    pub(super) fn payload(&self, nonce: &str) -> String {
        let client = |access: &ClientAccess| json!({ "url": access.url, "key": access.key.expose(), "no_check_certificate": access.no_check_certificate });
        json!({
            "nonce": nonce,
            "name": self.name,
            "code_env": self.code_env,
            "code": self.code,
            "arguments": self.arguments,
            "automation_client": self.automation.as_ref().map(client),
            "automation_nodes": self.nodes.iter().map(|(name, access)| (name.clone(), client(access))).collect::<Map<_, _>>(),
            "deployer_client": self.deployer.as_ref().map_or_else(|why| json!({ "why": why }), client),
        })
        .to_string()
    }

    /// All that must not show in output.
    pub(super) fn all_secrets(&self) -> impl Iterator<Item = &str> {
        let nodes = self.nodes.values();
        let keys = self.automation.iter().chain(nodes).chain(&self.deployer).map(|access| access.key.expose());
        self.secrets.iter().map(Secret::expose).chain(keys)
    }
}
