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
        all.overridden(read(&service.settings, "deployment")?);
        Ok(all)
    }

    fn overridden(&mut self, own: Overrides) {
        fn take<T>(place: &mut T, own: Option<T>) {
            if let Some(own) = own {
                *place = own;
            }
        }
        take(&mut self.machine_type, own.machine_type);
        take(&mut self.min_replicas, own.min_replicas);
        take(&mut self.max_replicas, own.max_replicas);
        self.max_replicas = self.max_replicas.max(self.min_replicas);
        take(&mut self.accelerator_type, own.accelerator_type);
        take(&mut self.accelerator_count, own.accelerator_count);
        self.environment_variables.extend(own.environment_variables);
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
        if self.lacks_count() {
            problems.add(&codes::SETTING_MISSING, format!("acceleratorCount: {COUNT_MISSING}"));
        }
    }

    fn lacks_count(&self) -> bool {
        !self.accelerator_type.is_empty() && self.accelerator_count == 0
    }
}

const COUNT_MISSING: &str = "how many accelerators a machine has is missing. Enter it.";

/// What of an infrastructure's settings that the schema lets through can't be, by path; what is missing yet is none of it.
pub(super) fn contradicted(settings: &Map<String, Value>) -> Vec<(String, String)> {
    let Ok(all) = Settings::of(settings) else { return Vec::new() };
    let mut wrong = taken("environmentVariables", &all.environment_variables);
    let mut add = |path: &str, message: &str| wrong.push((path.to_owned(), message.to_owned()));
    if settings.contains_key("maxReplicas") && all.max_replicas < all.min_replicas {
        add("maxReplicas", "It must be at least minReplicas.");
    }
    if all.lacks_count() {
        add("acceleratorCount", COUNT_MISSING);
    }
    if all.accelerator_type.is_empty() && all.accelerator_count > 0 {
        add("acceleratorType", "Accelerators of which type is missing. Enter it, or leave out acceleratorCount.");
    }
    wrong
}

/// Variables that are the platform's to set, or Slipway's.
fn taken(path: &str, variables: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let is_taken = |name: &&String| ["AIP_", "SLIPWAY_"].iter().any(|begin| name.to_uppercase().starts_with(begin));
    let told = |name: &String| {
        (
            format!("{path}.{name}"),
            "Variables that begin with AIP_ are Vertex AI's, and with SLIPWAY_ Slipway's own. Take it away.".to_owned(),
        )
    };
    variables.keys().filter(is_taken).map(told).collect()
}

/// What of a deployment's own settings can't be, beside those of its infrastructure, by path.
pub(super) fn wrong(infrastructure: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
    let own: Overrides = match read(own, "deployment") {
        Ok(own) => own,
        Err(failure) => return vec![(String::new(), failure.message)],
    };
    let mut all = Settings::of(infrastructure).unwrap_or_default();
    let mut wrong = taken("environmentVariables", &own.environment_variables);
    if own.max_replicas.is_some_and(|most| most < own.min_replicas.unwrap_or(all.min_replicas)) {
        wrong.push(("maxReplicas".to_owned(), "It must be at least minReplicas.".to_owned()));
    }
    let says = own.accelerator_type.is_some() || own.accelerator_count.is_some();
    all.overridden(own);
    if says && all.lacks_count() {
        wrong.push(("acceleratorCount".to_owned(), COUNT_MISSING.to_owned()));
    }
    wrong
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
    fn contradictions_are_named_by_path() {
        let told = |infrastructure: Value, own: Value| -> Vec<String> {
            let object = |value: Value| value.as_object().cloned().unwrap();
            wrong(&object(infrastructure), &object(own)).into_iter().map(|(path, _)| path).collect()
        };
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(told(json("{}"), json("{}")), [""; 0]);
        assert_eq!(
            told(json(r#"{"minReplicas": 3, "maxReplicas": 5}"#), json(r#"{"maxReplicas": 2}"#)),
            ["maxReplicas"]
        );
        assert_eq!(told(json("{}"), json(r#"{"acceleratorType": "T4"}"#)), ["acceleratorCount"]);
        assert_eq!(told(json(r#"{"acceleratorCount": 1}"#), json(r#"{"acceleratorType": "T4"}"#)), [""; 0]);
        assert_eq!(told(json("{}"), json(r#"{"nothing": 1}"#)), [""]);
    }

    #[test]
    fn settings_and_schemas_name_the_same() {
        assert_same(include_str!("settings.json"), &Settings::default());
        assert_same(include_str!("deployment.json"), &Overrides::default());
    }
}
