//! One look, or one attempt at one step: the platform, the spec at hand, and the resources.

use std::collections::BTreeMap;

use engine::{
    failure::{Failure, StepError},
    step::StepContext,
};
use serde_json::Value;

use super::{bodies, settings::Settings};
use crate::{
    codes,
    gcp::{
        api::Google,
        connection::{Gcp, GcpSettings},
    },
    http::CallError,
    managed::{image, notes, opener::Opener, patience::Changing, problems::Problems, shares},
    service::{ServiceSpec, ServiceVersionSpec},
    spec::DeploySpec,
};

/// What a step works with.
pub(super) struct Session<'a> {
    pub(super) google: Google,
    pub(super) settings: Settings,
    pub(super) connection: GcpSettings,
    pub(super) spec: &'a DeploySpec,
    pub(super) service: &'a ServiceSpec,
    pub(super) opener: Opener<'a>,
    /// The endpoint's id.
    pub(super) endpoint: String,
    owner: String,
    pub(super) changing: Changing,
}

/// A version as it is to run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned<'a> {
    pub(super) version: &'a ServiceVersionSpec,
    pub(super) image: String,
    pub(super) percent: u32,
    pub(super) model_id: String,
    pub(super) model: Value,
    pub(super) deployed_id: String,
    pub(super) deployed: Value,
}

impl<'a> Session<'a> {
    /// Signs in.
    pub(super) async fn open(gcp: &Gcp, spec: &'a DeploySpec, opener: Opener<'a>) -> Result<Self, StepError> {
        let none =
            || Failure::new(codes::SERVICE_EXPECTED, "This infrastructure takes API services, and this is none.");
        let service = spec.service.as_deref().ok_or_else(none)?;
        let settings = Settings::read(spec)?;
        let connection = GcpSettings::read(spec.infrastructure.connection.as_ref())?;
        let mut problems = Problems::default();
        connection.problems(&mut problems);
        settings.missing_place(&mut problems);
        if let Some(failure) = problems.failure() {
            return Err(failure.permanent());
        }
        let google = gcp.vertex(&connection, &settings.location, opener).await?;
        let (endpoint, owner) = (bodies::endpoint_id(spec), bodies::owner(spec));
        Ok(Self { google, settings, connection, spec, service, opener, endpoint, owner, changing: Changing::default() })
    }

    /// The path of something in the region.
    pub(super) fn path<'p>(&'p self, more: &[&'p str]) -> Vec<&'p str> {
        let place = ["v1", "projects", &self.settings.project, "locations", &self.settings.location];
        [&place[..], more].concat()
    }

    /// The name of a model, as the platform's own bodies say it.
    pub(super) fn model_name(&self, id: &str) -> String {
        self.path(&["models", id])[1..].join("/")
    }

    /// Whether we made it, for this deployment.
    pub(super) fn is_ours(&self, resource: &Value) -> bool {
        resource["labels"][bodies::OWNER] == self.owner.as_str()
    }

    /// Whether a deployed model runs a model of ours. It has no labels, but its model's id begins with our endpoint's, which has our mark in it.
    pub(super) fn is_our_deployed(&self, deployed: &Value) -> bool {
        let model = deployed["model"].as_str().unwrap_or_default();
        let id = model.rsplit('/').next().unwrap_or_default();
        id.strip_prefix(&self.endpoint).is_some_and(|rest| rest.starts_with('-'))
    }

    /// The endpoint, if there is one; refused where it is somebody else's.
    pub(super) async fn endpoint(&self) -> Result<Option<Value>, CallError> {
        let found = self.google.get(&self.path(&["endpoints", &self.endpoint]), "reading the endpoint").await?;
        match found {
            Some(endpoint) if !self.is_ours(&endpoint) => {
                Err(CallError::reported(self.taken("endpoint", &self.endpoint)))
            }
            found => Ok(found),
        }
    }

    /// A model, if there is one; refused where it is somebody else's.
    pub(super) async fn model(&self, id: &str) -> Result<Option<Value>, CallError> {
        match self.google.get(&self.path(&["models", id]), "reading the model").await? {
            Some(model) if !self.is_ours(&model) => Err(CallError::reported(self.taken("model", id))),
            found => Ok(found),
        }
    }

    /// A name that we need is somebody else's.
    pub(super) fn taken(&self, what: &str, name: &str) -> Failure {
        let message = format!(
            "The {what} {name} in project {} was not made by this deployment, and Slipway leaves it alone. Delete it, or give the deployment another id.",
            self.settings.project
        );
        Failure::new(codes::PLATFORM_NAME_TAKEN, message)
    }

    /// The versions as they are to run, once their images are there.
    pub(super) fn plan(&self, run: &dyn StepContext) -> Result<Vec<Planned<'a>>, Failure> {
        let images: BTreeMap<String, String> = notes::read(run, image::IMAGES).unwrap_or_default();
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
            let model = bodies::model(self.spec, &self.settings, &version.version, &image);
            let model_id = bodies::model_id(&self.endpoint, &model);
            let name = self.model_name(&model_id);
            let deployed_id = bodies::deployed_id(&bodies::deployed(&self.settings, &version.version, &name, None));
            let deployed = bodies::deployed(&self.settings, &version.version, &name, Some(&deployed_id));
            Ok(Planned { version, image, percent, model_id, model, deployed_id, deployed })
        };
        self.service.versions.iter().zip(percents).map(planned).collect()
    }
}

/// The deployed models of an endpoint.
pub(super) fn deployed_models(endpoint: &Value) -> &[Value] {
    endpoint["deployedModels"].as_array().map_or(&[], Vec::as_slice)
}

/// The one of this id.
pub(super) fn find<'e>(endpoint: &'e Value, id: &str) -> Option<&'e Value> {
    deployed_models(endpoint).iter().find(|one| one["id"] == id)
}
