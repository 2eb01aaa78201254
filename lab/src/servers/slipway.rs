//! `slipway` processes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
    time::Duration,
};

use super::guard::{Guarded, Program, free_port};
use crate::{failure::LabError, until::until};

const PATIENCE: Duration = Duration::from_secs(60);
/// For a port that was ours a moment ago.
const PORT_TRIES: u32 = 5;

/// The binary, and what all its processes are told.
#[derive(Clone, Debug)]
pub struct Slipway {
    /// The binary.
    pub binary: PathBuf,
    /// Where they run, and where their logs lie.
    pub folder: PathBuf,
    /// Their settings, such as `SLIPWAY_WORKER_SEATS`.
    pub variables: BTreeMap<String, String>,
}

/// A process that serves, and said that it is ready.
#[derive(Debug)]
pub struct Serving {
    /// The process.
    pub process: Guarded,
    /// Where it serves.
    pub port: u16,
}

impl Slipway {
    /// Where the log of a process lies.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Sets a variable for processes that are started from now on.
    pub fn set(&mut self, variable: &str, value: impl ToString) {
        self.variables.insert(variable.to_owned(), value.to_string());
    }

    /// Starts a command that serves, and waits until it is ready; on `port`, or on any that is free. `more` go before the settings of all.
    ///
    /// # Errors
    /// When it ends, with its log, or is not ready in time.
    pub async fn serve(
        &self,
        name: &str,
        arguments: &[&str],
        port: Option<u16>,
        more: &[(&str, String)],
    ) -> Result<Serving, LabError> {
        let what = || format!("`slipway {}`", arguments.join(" "));
        for _ in 0..PORT_TRIES {
            let port = port.map_or_else(free_port, Ok)?;
            let listen = format!("127.0.0.1:{port}");
            let binary = self.binary.display().to_string();
            let command = [binary.as_str()].into_iter().chain(arguments.iter().copied()).chain(["--listen", &listen]);
            let process = Program::new(command, &self.log(name))
                .with([("SLIPWAY_WORKER_NAME", name)])
                .with(self.variables.clone())
                .with(more.iter().map(|(variable, value)| (*variable, value.as_str())))
                .start()?;
            if ready(&process, port).await? {
                return Ok(Serving { process, port });
            }
            let said = process.log_tail();
            if !said.contains("in use") {
                return Err(LabError::failed(what(), said));
            }
        }
        Err(LabError::failed(what(), "no port stayed free"))
    }

    /// Brings the database up to date that the variables name.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn migrate(&self) -> Result<(), LabError> {
        let migrated = self.run(&["migrate"])?;
        if migrated.status.success() {
            return Ok(());
        }
        Err(LabError::failed("`slipway migrate`", String::from_utf8_lossy(&migrated.stderr)))
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, LabError> {
        Ok(run(&self.binary, &self.folder, &self.variables, arguments)?)
    }
}

fn run(
    binary: &Path,
    folder: &Path,
    variables: &BTreeMap<String, String>,
    arguments: &[&str],
) -> std::io::Result<Output> {
    let mut command = Command::new(binary);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("SLIPWAY_") {
            command.env_remove(variable);
        }
    }
    command.args(arguments).envs(variables).current_dir(folder).output()
}

/// Whether a process serves and says that it is ready; false when it ended first.
async fn ready(process: &Guarded, port: u16) -> Result<bool, LabError> {
    let looked = until("readiness", PATIENCE, || async {
        if process.exit_code().is_some() {
            return Some(false);
        }
        answers(port).await.then_some(true)
    });
    looked.await.map_err(|late| LabError::failed(late.to_string(), process.log_tail()))
}

/// Whether whoever serves there says that it is ready.
pub async fn answers(port: u16) -> bool {
    let Ok(client) = http(Duration::from_secs(5)) else { return false };
    let answer = client.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// An HTTP client without proxies; no answer may take longer than `patience`.
///
/// # Errors
/// Never, once TLS is there.
pub fn http(patience: Duration) -> reqwest::Result<reqwest::Client> {
    static TLS: LazyLock<()> = LazyLock::new(targets::http::install_crypto_provider);
    LazyLock::force(&TLS);
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(patience).build()
}
