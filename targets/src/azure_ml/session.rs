//! One look, or one attempt at one step: the platform, the spec at hand, and the resources.

use engine::{
    failure::{Failure, StepError},
    step::StepContext,
};
use serde_json::{Value, json};

use super::{API_VERSION, bodies, names, settings::Settings};
use crate::{
    azure::{
        arm::Arm,
        connection::{Azure, AzureSettings},
    },
    codes,
    http::CallError,
    managed::{image, notes, opener::Opener, patience::Changing, shares},
    service::{ServiceSpec, ServiceVersionSpec},
    spec::DeploySpec,
};

/// Of a container's log, so many lines are asked for.
const LOG_LINES: u32 = 100;

/// What a step works with.
pub(super) struct Session<'a> {
    pub(super) arm: Arm,
    pub(super) settings: Settings,
    pub(super) connection: AzureSettings,
    pub(super) spec: &'a DeploySpec,
    pub(super) service: &'a ServiceSpec,
    pub(super) opener: Opener<'a>,
    pub(super) endpoint: String,
    pub(super) owner: String,
    pub(super) changing: Changing,
}

/// A version as it is to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned<'a> {
    pub(super) name: String,
    pub(super) version: &'a ServiceVersionSpec,
    pub(super) image: String,
    pub(super) percent: u32,
    pub(super) body: Value,
}

/// The service that is deployed.
pub(super) fn service(spec: &DeploySpec) -> Result<&ServiceSpec, Failure> {
    let none = || Failure::new(codes::SERVICE_EXPECTED, "This infrastructure takes API services, and this is none.");
    spec.service.as_deref().ok_or_else(none)
}

impl<'a> Session<'a> {
    /// Signs in.
    pub(super) async fn open(azure: &Azure, spec: &'a DeploySpec, opener: Opener<'a>) -> Result<Self, StepError> {
        let service = service(spec)?;
        let settings = Settings::read(spec)?;
        let connection = AzureSettings::read(spec.infrastructure.connection.as_ref())?;
        let mut problems = crate::managed::problems::Problems::default();
        connection.problems(&mut problems);
        settings.missing_place(&mut problems);
        if let Some(failure) = problems.failure() {
            return Err(failure.permanent());
        }
        let arm = azure.arm(&connection, opener).await?;
        let (endpoint, owner) = (names::endpoint(spec), names::owner(spec));
        Ok(Self { arm, settings, connection, spec, service, opener, endpoint, owner, changing: Changing::default() })
    }

    /// The path of something in the workspace.
    pub(super) fn path<'p>(&'p self, more: &[&'p str]) -> Vec<&'p str> {
        [&names::workspace(&self.settings)[..], more].concat()
    }

    pub(super) fn endpoint_path(&self) -> Vec<&str> {
        self.path(&["onlineEndpoints", &self.endpoint])
    }

    pub(super) fn deployment_path<'p>(&'p self, name: &'p str) -> Vec<&'p str> {
        self.path(&["onlineEndpoints", &self.endpoint, "deployments", name])
    }

    pub(super) fn environment_path<'p>(&'p self, version: &'p str) -> Vec<&'p str> {
        self.path(&["environments", &self.endpoint, "versions", version])
    }

    /// Whether we made it, for this deployment.
    pub(super) fn is_ours(&self, resource: &Value) -> bool {
        let tag = |tags: &Value| tags[names::OWNER] == self.owner.as_str();
        tag(&resource["tags"]) || tag(&resource["properties"]["tags"])
    }

    /// The endpoint, if there is one; refused where it is somebody else's.
    pub(super) async fn endpoint(&self) -> Result<Option<Value>, CallError> {
        let found = self.arm.get(&self.endpoint_path(), API_VERSION, "reading the endpoint").await?;
        match found {
            Some(endpoint) if !self.is_ours(&endpoint) => {
                Err(CallError::reported(self.taken("endpoint", &self.endpoint)))
            }
            found => Ok(found),
        }
    }

    /// The endpoint's deployments, those of others, too.
    pub(super) async fn deployments(&self) -> Result<Vec<Value>, CallError> {
        let path = self.path(&["onlineEndpoints", &self.endpoint, "deployments"]);
        self.arm.list(&path, API_VERSION, "listing the endpoint's deployments").await
    }

    /// A name that we need is somebody else's.
    pub(super) fn taken(&self, what: &str, name: &str) -> Failure {
        let message = format!(
            "The {what} {name} in workspace {} was not made by this deployment, and Slipway leaves it alone. Delete or rename it, or give the deployment another id.",
            self.settings.workspace
        );
        Failure::new(codes::PLATFORM_NAME_TAKEN, message)
    }

    /// The versions as they are to run, once their images are there.
    pub(super) fn plan(&self, run: &dyn StepContext) -> Result<Vec<Planned<'a>>, Failure> {
        let images: std::collections::BTreeMap<String, String> = notes::read(run, image::IMAGES).unwrap_or_default();
        let probabilities: Vec<f64> = self.service.versions.iter().map(|one| one.probability).collect();
        let percents = shares::percents(&probabilities).ok_or_else(|| {
            Failure::new(
                codes::VERSIONS_TOO_MANY,
                format!("This platform takes 1 to {} versions at once.", shares::MOST),
            )
        })?;
        let planned = |(version, percent): (&'a ServiceVersionSpec, u32)| {
            let image = images.get(&version.version).cloned().ok_or_else(|| {
                let message = format!("The image of version {} is not there yet. Update again.", version.version);
                Failure::new(codes::PLATFORM_RESOURCE_MISSING, message)
            })?;
            let environment = format!("/{}", self.environment_path(&names::environment_version(&image)).join("/"));
            let body = bodies::deployment(self.spec, &self.settings, &version.version, &environment);
            Ok(Planned { name: names::deployment(&body), version, image, percent, body })
        };
        self.service.versions.iter().zip(percents).map(planned).collect()
    }

    /// The last lines of a deployment's container, as far as the platform gives them.
    pub(super) async fn logs(&self, deployment: &str) -> Option<String> {
        let path = [self.deployment_path(deployment), vec!["getLogs"]].concat();
        let body = json!({"containerType": "InferenceServer", "tail": LOG_LINES});
        match self.arm.post(&path, API_VERSION, body, "reading the container's log").await {
            Ok(answer) => answer["content"].as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned),
            // What failed is told anyway.
            Err(error) => {
                tracing::debug!(code = %error.failure.code, "the log of a container can't be read");
                None
            }
        }
    }
}
