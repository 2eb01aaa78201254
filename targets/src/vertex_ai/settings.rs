//! What an infrastructure, and a deployment on it, may set. `settings.json` and `deployment.json` describe it for forms.

use std::collections::BTreeMap;

use engine::failure::Failure;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{codes, managed::problems::Problems, spec::DeploySpec};

/// An infrastructure's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "settings.json describes each")]
pub struct Settings {
    pub project: String,
    pub location: String,
    pub base_image: String,
    pub repository: String,
    pub service_account: String,
    pub machine_type: String,
    pub min_replicas: u32,
    pub max_replicas: u32,
    pub accelerator_type: String,
    pub accelerator_count: u32,
    pub container_logging: bool,
    pub access_logging: bool,
    pub request_log_table: String,
    pub request_log_sampling: f64,
    pub environment_variables: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        let empty = String::new;
        Self {
            project: empty(),
            location: empty(),
            base_image: empty(),
            repository: empty(),
            service_account: empty(),
            machine_type: "n1-standard-2".to_owned(),
            min_replicas: 1,
            max_replicas: 1,
            accelerator_type: empty(),
            accelerator_count: 0,
            container_logging: true,
            access_logging: false,
            request_log_table: empty(),
            request_log_sampling: 1.0,
            environment_variables: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// What a deployment may set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(missing_docs, reason = "deployment.json describes each")]
pub struct Overrides {
    pub machine_type: Option<String>,
    pub min_replicas: Option<u32>,
    pub max_replicas: Option<u32>,
    pub accelerator_type: Option<String>,
    pub accelerator_count: Option<u32>,
    pub environment_variables: BTreeMap<String, String>,
}

impl Settings {
    /// Those of an infrastructure.
    pub(super) fn of(settings: &Map<String, Value>) -> Result<Self, Failure> {
        read(settings, "infrastructure")
    }

    /// Those of an infrastructure, with what the deployment sets instead.
    pub(super) fn read(spec: &DeploySpec) -> Result<Self, Failure> {
        let mut all = Self::of(&spec.infrastructure.settings)?;
        let Some(service) = &spec.service else { return Ok(all) };
        let own: Overrides = read(&service.settings, "deployment")?;
        all.machine_type = own.machine_type.unwrap_or(all.machine_type);
        all.min_replicas = own.min_replicas.unwrap_or(all.min_replicas);
        all.max_replicas = own.max_replicas.unwrap_or(all.max_replicas).max(all.min_replicas);
        all.accelerator_type = own.accelerator_type.unwrap_or(all.accelerator_type);
        all.accelerator_count = own.accelerator_count.unwrap_or(all.accelerator_count);
        all.environment_variables.extend(own.environment_variables);
        Ok(all)
    }

    /// What is missing of what a look needs.
    pub(super) fn missing_place(&self, problems: &mut Problems) {
        problems.need(&self.project, "project", "the project");
        problems.need(&self.location, "location", "the region");
    }

    /// What is missing.
    pub(super) fn missing(&self, problems: &mut Problems) {
        self.missing_place(problems);
        problems.need(&self.base_image, "baseImage", "the base image");
        problems.need(&self.repository, "repository", "the repository for images");
        if !self.accelerator_type.is_empty() && self.accelerator_count == 0 {
            problems.add(
                &codes::SETTING_MISSING,
                "acceleratorCount: how many accelerators a machine has is missing. Enter it.",
            );
        }
    }
}

fn read<T: DeserializeOwned>(settings: &Map<String, Value>, whose: &str) -> Result<T, Failure> {
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
