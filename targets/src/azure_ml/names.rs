//! What things are called on the platform. All follows from the deployment and from what is deployed.

use serde_json::Value;

use super::settings::Settings;
use crate::{managed::names, spec::DeploySpec};

/// Whose it is: on everything that we make.
pub(super) const OWNER: &str = "slipway-owner";
/// Which version it is of.
pub(super) const VERSION: &str = "slipway-version";
/// The deployment's id, for people.
pub(super) const DEPLOYMENT: &str = "slipway-deployment";

/// The name of the endpoint, and of the environment: 3 to 32 characters, unique in a region.
pub(super) fn endpoint(spec: &DeploySpec) -> String {
    let service = spec.service.as_ref().map_or(spec.deployment.as_str(), |service| &service.service_id);
    format!("{}-{}", names::slug(service, 20), &owner(spec)[..10])
}

/// Who made it, as a mark.
pub(super) fn owner(spec: &DeploySpec) -> String {
    names::hash([spec.infrastructure.id.as_str(), &spec.owner()], 32)
}

/// The version of the environment that says how this image is run.
pub(super) fn environment_version(image: &str) -> String {
    names::hash([image, "1"], 32)
}

/// The name of a deployment: another content, another name.
pub(super) fn deployment(body: &Value) -> String {
    format!("v{}", names::hash([body.to_string()], 20))
}

/// A workspace's path.
pub(super) fn workspace(settings: &Settings) -> [&str; 8] {
    [
        "subscriptions",
        &settings.subscription_id,
        "resourceGroups",
        &settings.resource_group,
        "providers",
        "Microsoft.MachineLearningServices",
        "workspaces",
        &settings.workspace,
    ]
}
