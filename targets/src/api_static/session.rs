//! One node, one service: what steps and looks work with.

use std::{path::PathBuf, time::Duration};

use engine::{
    failure::{Failure, StepError},
    step::{Audience, StepContext},
};

use super::{
    client::Api,
    deliver::Way,
    settings::{ApiNode, Settings},
};
use crate::{
    codes,
    managed::opener::Opener,
    service::{ServiceSpec, ServiceVersionSpec},
    service_package,
    spec::{DeploySpec, SecretRef},
    target::Work,
    tools::Tools,
};

/// A node, and what is deployed there.
pub(super) struct Place<'a> {
    pub(super) api: Api,
    pub(super) spec: &'a DeploySpec,
    pub(super) service: &'a ServiceSpec,
    pub(super) settings: Settings,
    /// Its settings, and where they stand.
    pub(super) at: usize,
    pub(super) node: ApiNode,
    pub(super) tools: &'a Tools,
}

impl<'a> Place<'a> {
    /// Opens the node's key. Talks to nobody.
    pub(super) async fn open(tools: &'a Tools, spec: &'a DeploySpec, opener: Opener<'a>) -> Result<Self, StepError> {
        let settings = Settings::read(&spec.infrastructure.settings)?;
        let service = spec.service.as_deref().ok_or_else(|| {
            Failure::new(
                codes::SETTING_INVALID,
                "This deployment is none of an API service, and API nodes serve nothing else.",
            )
        })?;
        let (api, at, node) = node(tools, &settings, &spec.infrastructure.node, opener).await?;
        Ok(Self { api, spec, service, settings, at, node, tools })
    }

    /// The service's id on the node.
    pub(super) fn id(&self) -> &'a str {
        &self.service.service_id
    }

    /// The generations that are to answer, in the order of the spec, with their shares.
    pub(super) fn goal(&self) -> Vec<(String, f64)> {
        let named =
            |version: &ServiceVersionSpec| (service_package::generation(self.service, version), version.probability);
        self.service.versions.iter().map(named).collect()
    }

    /// How packages reach this node.
    pub(super) async fn way(&self, opener: Opener<'_>) -> Result<Way, StepError> {
        let (path, delivery) = match &self.node.delivery {
            Some(own) if own.mode.is_some() => (format!("apiNodes[{}].delivery", self.at), Some(own)),
            _ => ("delivery".to_owned(), self.settings.delivery.as_ref()),
        };
        Way::open(self.tools, delivery, &path, &self.node.url, self.api.blocking(), opener).await
    }
}

/// The API of a node, and its settings.
pub(super) async fn node(
    tools: &Tools,
    settings: &Settings,
    spec: &crate::spec::NodeSpec,
    opener: Opener<'_>,
) -> Result<(Api, usize, ApiNode), StepError> {
    let Some((at, node)) = settings.of(spec).filter(|_| !spec.url.is_empty()) else {
        return Err(missing("apiNodes", "Enter the URL and the admin key of an API node at least.").into());
    };
    if spec.key.is_empty() {
        return Err(missing(&format!("apiNodes[{at}].adminAPIKey"), "Enter the node's admin key.").into());
    }
    let key = opener.open(&SecretRef { id: spec.key.clone() }).await?;
    Ok((Api::new(&tools.http, spec, &key)?, at, node.clone()))
}

/// A setting that nothing works without.
pub(super) fn missing(path: &str, todo: &str) -> Failure {
    Failure::new(codes::SETTING_MISSING, format!("The infrastructure's setting {path} is missing. {todo}"))
}

/// What a step works with.
pub(super) struct Session<'a> {
    pub(super) place: Place<'a>,
    pub(super) work: &'a Work<'a>,
}

impl<'a> Session<'a> {
    pub(super) async fn open(tools: &'a Tools, work: &'a Work<'a>) -> Result<Self, StepError> {
        Ok(Self { place: Place::open(tools, work.spec, Opener::Run(work.run)).await?, work })
    }

    pub(super) fn run(&self) -> &'a dyn StepContext {
        self.work.run
    }

    pub(super) fn api(&self) -> &Api {
        &self.place.api
    }

    /// The service's id on the node.
    pub(super) fn id(&self) -> &'a str {
        self.place.id()
    }

    pub(super) fn settle(&self) -> Duration {
        Duration::from_millis(self.work.spec.infrastructure.node.settle_ms)
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.place.tools.host.scratch()
    }

    pub(super) async fn way(&self) -> Result<Way, StepError> {
        self.place.way(Opener::Run(self.work.run)).await
    }

    /// A line for whoever may see the update.
    pub(super) async fn log(&self, line: String) {
        self.run().log(Audience::Everyone, line).await;
    }
}

/// The failure of a look, which takes no attempt and no slot.
pub(super) fn of_look(error: StepError) -> Failure {
    match error {
        StepError::Retryable { failure, .. } | StepError::Permanent(failure) => failure,
        StepError::SlotTimeout { .. } | StepError::Cancelled | StepError::LeaseLost => {
            Failure::new(codes::NODE_ANSWER_UNEXPECTED, "The look at the node ended without an answer.")
        }
    }
}
