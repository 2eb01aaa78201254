//! How a package reaches an API node's disk. No call of the node uploads one.
//!
//! * `folder`: a folder that this worker and the node share; `command`: a copy command; `agent`: `slipway agent` beside the node.
//!
//! Files are called `slipway-<12 hex>-<SHA-256>.zip`, or `slipway-<12 hex>-<SHA-256>-<8 hex>.zip`. The first digits are of the infrastructure and the deployment, so
//! that what was brought for one is found again, and nothing else is touched; the SHA-256 is that of the upload, and the last digits tell amendments apart. So the
//! name is known without making the package, and tells nothing of a secret in it.

mod agent;
mod command;
mod folder;

use std::{collections::BTreeMap, path::Path, time::Duration};

use engine::failure::{Code, Failure, StepError};
use sha2::{Digest as _, Sha256};

use self::{agent::Agent, command::Copying, folder::Shared};
use super::{
    session::missing,
    settings::{Delivery, Mode, NOT_PLAIN, is_plain_path},
};
use crate::{
    codes,
    managed::opener::Opener,
    service::{ServiceSpec, ServiceVersionSpec},
    service_package::{self, ServicePackage, hex},
    spec::DeploySpec,
    target::Problem,
    tools::Tools,
};

/// What begins the names of all files of one deployment on one infrastructure.
pub(super) fn prefix(spec: &DeploySpec) -> String {
    let mut digits = hex(&Sha256::digest(format!("{}\n{}", spec.infrastructure.id, spec.deployment)));
    digits.truncate(12);
    format!("slipway-{digits}-")
}

/// The name of a package's file.
pub(super) fn file_name(spec: &DeploySpec, service: &ServiceSpec, version: &ServiceVersionSpec) -> String {
    let tag = service_package::tag(service, version).map(|tag| format!("-{tag}")).unwrap_or_default();
    format!("{}{}{tag}.zip", prefix(spec), version.sha256)
}

/// One way to one node.
pub(super) enum Way {
    Shared(Shared),
    Copying(Copying),
    Agent(Agent),
}

impl Way {
    /// Reads the settings. Talks to nobody.
    pub(super) async fn open(
        tools: &Tools,
        delivery: Option<&Delivery>,
        path: &str,
        node_url: &str,
        patience: Duration,
        opener: Opener<'_>,
    ) -> Result<Self, StepError> {
        let Some((delivery, mode)) = delivery.and_then(|delivery| Some((delivery, delivery.mode?))) else {
            return Err(missing(&format!("{path}.mode"), "Say how packages reach the node's disk.").into());
        };
        let there = delivery.path().map(str::to_owned);
        if there.as_deref().is_some_and(|path| !is_plain_path(path)) {
            return Err(Failure::new(codes::SETTING_INVALID, format!("{path}.nodePath: {NOT_PLAIN}")).into());
        }
        let node_path = || {
            let todo = "Enter the folder as the API node sees it.";
            there.clone().ok_or_else(|| missing(&format!("{path}.nodePath"), todo))
        };
        let needed = |value: &Option<String>, name: &str, todo: &str| {
            let value = value.clone().filter(|value| !value.trim().is_empty());
            value.ok_or_else(|| missing(&format!("{path}.{name}"), todo))
        };
        Ok(match mode {
            Mode::SharedFolder => {
                let name = needed(&delivery.folder, "folder", "Name a folder that the workers' operator declared.")?;
                Self::Shared(Shared::new(&tools.host, name, node_path()?))
            }
            Mode::CopyCommand => {
                let name = needed(&delivery.command, "command", "Name a command that the workers' operator declared.")?;
                Self::Copying(Copying::new(&tools.host, name, node_path()?, node_url, patience)?)
            }
            Mode::Agent => {
                let url = needed(&delivery.url, "url", "Enter the URL of slipway agent beside the node.")?;
                let Some(key) = &delivery.key else {
                    return Err(missing(&format!("{path}.key"), "Enter the agent's key.").into());
                };
                let key = opener.open(key).await?;
                Self::Agent(Agent::new(tools, &url, &key, delivery.trust_all_certificates, there, patience)?)
            }
        })
    }

    /// What would keep a package of this size from getting there. Whoever looks from elsewhere than a worker can't see what only workers have.
    pub(super) async fn problems(&self, most: u64, on_worker: bool) -> Result<Vec<Problem>, StepError> {
        match self {
            Self::Shared(_) | Self::Copying(_) if !on_worker => Ok(Vec::new()),
            Self::Shared(shared) => shared.problems().await,
            Self::Copying(copying) => Ok(copying.problems()),
            Self::Agent(agent) => agent.problems(most).await,
        }
    }

    /// Brings the package to the node's disk, unless it is there. Answers its path there.
    pub(super) async fn put(&self, name: &str, package: &ServicePackage, scratch: &Path) -> Result<String, StepError> {
        match self {
            Self::Shared(shared) => shared.put(name, package).await,
            Self::Copying(copying) => copying.put(name, package, scratch).await,
            Self::Agent(agent) => agent.put(name, package).await,
        }
    }

    /// Removes the files of this prefix, but those that are kept. Answers what can't be removed this way.
    pub(super) async fn remove(&self, prefix: &str, keep: &[String]) -> Result<Option<String>, StepError> {
        match self {
            Self::Shared(shared) => shared.remove(prefix, keep).await.map(|()| None),
            Self::Copying(copying) => copying.remove(prefix, keep).await,
            Self::Agent(agent) => agent.remove(prefix, keep).await.map(|()| None),
        }
    }
}

/// A name that this worker's operator did not declare.
fn undeclared<T>(what: &str, name: &str, declared: &BTreeMap<String, T>) -> Failure {
    let known: Vec<_> = declared.keys().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message =
        format!("This worker has no {what} called \"{name}\". Ask an operator to declare it, on every worker.");
    Failure::new(codes::DELIVERY_NOT_DECLARED, message).detail(format!("declared here: {known}"))
}

fn failed(message: impl Into<String>, detail: String) -> Failure {
    Failure::new(codes::DELIVERY_FAILED, message).detail(detail)
}

pub(super) fn problem(failure: Failure) -> Problem {
    Problem { code: failure.code.as_str().to_owned(), message: failure.message }
}

/// A problem in a sentence.
pub(super) fn problem_of(code: &Code, message: impl Into<String>) -> Problem {
    Problem { code: code.as_str().to_owned(), message: message.into() }
}
