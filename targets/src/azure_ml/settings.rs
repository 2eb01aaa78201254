//! What an infrastructure, and a deployment on it, may set. `settings.json` and `deployment.json` describe it for forms.

use std::collections::BTreeMap;

use engine::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{codes, managed::problems::Problems, spec::DeploySpec};

/// How callers show who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthMode {
    /// With the endpoint's keys.
    #[default]
    Key,
    /// With tokens that end.
    AmlToken,
}

impl AuthMode {
    /// The platform's word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Key => "Key",
            Self::AmlToken => "AMLToken",
        }
    }
}

/// An infrastructure's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "settings.json describes each")]
pub struct Settings {
    pub subscription_id: String,
    pub resource_group: String,
    pub workspace: String,
    pub location: String,
    pub base_image: String,
    pub repository_prefix: String,
    pub auth_mode: AuthMode,
    pub identity_id: String,
    pub public_network_access: bool,
    pub egress_public_network_access: bool,
    pub app_insights: bool,
    pub instance_type: String,
    pub instances: u32,
    pub request_timeout_seconds: u32,
    pub max_concurrent_requests: u32,
    pub startup_seconds: u32,
    pub environment_variables: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let empty = String::new;
        Self {
            subscription_id: empty(),
            resource_group: empty(),
            workspace: empty(),
            location: empty(),
            base_image: empty(),
            repository_prefix: "slipway".to_owned(),
            auth_mode: AuthMode::Key,
            identity_id: empty(),
            public_network_access: true,
            egress_public_network_access: true,
            app_insights: false,
            instance_type: "Standard_DS3_v2".to_owned(),
            instances: 1,
            request_timeout_seconds: 30,
            max_concurrent_requests: 8,
            startup_seconds: 60,
            environment_variables: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }
}

/// What a deployment may set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "deployment.json describes each")]
pub struct Overrides {
    pub instance_type: Option<String>,
    pub instances: Option<u32>,
    pub request_timeout_seconds: Option<u32>,
    pub max_concurrent_requests: Option<u32>,
    pub startup_seconds: Option<u32>,
    pub environment_variables: BTreeMap<String, String>,
}

impl Settings {
    /// Those of an infrastructure.
    pub(super) fn of(settings: &serde_json::Map<String, Value>) -> Result<Self, Failure> {
        read(settings, "infrastructure")
    }

    /// Those of an infrastructure, with what the deployment sets instead.
    pub(super) fn read(spec: &DeploySpec) -> Result<Self, Failure> {
        let mut all = Self::of(&spec.infrastructure.settings)?;
        let Some(service) = &spec.service else { return Ok(all) };
        let own: Overrides = read(&service.settings, "deployment")?;
        all.instance_type = own.instance_type.unwrap_or(all.instance_type);
        all.instances = own.instances.unwrap_or(all.instances);
        all.request_timeout_seconds = own.request_timeout_seconds.unwrap_or(all.request_timeout_seconds);
        all.max_concurrent_requests = own.max_concurrent_requests.unwrap_or(all.max_concurrent_requests);
        all.startup_seconds = own.startup_seconds.unwrap_or(all.startup_seconds);
        all.environment_variables.extend(own.environment_variables);
        Ok(all)
    }

    /// What is missing of what a look needs.
    pub(super) fn missing_place(&self, problems: &mut Problems) {
        problems.need(&self.subscription_id, "subscriptionId", "the subscription id");
        problems.need(&self.resource_group, "resourceGroup", "the resource group");
        problems.need(&self.workspace, "workspace", "the workspace");
    }

    /// What is missing.
    pub(super) fn missing(&self, problems: &mut Problems) {
        self.missing_place(problems);
        problems.need(&self.location, "location", "the region");
        problems.need(&self.base_image, "baseImage", "the base image");
    }
}

/// Variables and tags that are Slipway's own, by path.
pub(super) fn taken(settings: &serde_json::Map<String, Value>) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    for (field, begin) in [("environmentVariables", "SLIPWAY_"), ("tags", "slipway-")] {
        let names = settings.get(field).and_then(Value::as_object).into_iter().flat_map(|all| all.keys());
        let ours = names.filter(|name| name.to_lowercase().starts_with(&begin.to_lowercase()));
        let message = format!("What begins with {begin} is Slipway's own. Take it away.");
        wrong.extend(ours.map(|name| (format!("{field}.{name}"), message.clone())));
    }
    wrong
}

/// Why a deployment's own settings can't be read, if they can't.
pub(super) fn unreadable(own: &serde_json::Map<String, Value>) -> Option<Failure> {
    read::<Overrides>(own, "deployment").err()
}

fn read<T: serde::de::DeserializeOwned>(settings: &serde_json::Map<String, Value>, whose: &str) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(settings.clone())).map_err(|error| {
        let message = format!("The {whose}'s settings can't be read. Enter them again.");
        Failure::new(codes::SETTINGS_UNREADABLE, message).detail(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed::schema::assert_same;

    #[test]
    fn settings_and_schemas_name_the_same() {
        assert_same(include_str!("settings.json"), &Settings::default());
        assert_same(include_str!("deployment.json"), &Overrides::default());
    }
}
