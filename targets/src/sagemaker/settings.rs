//! What an infrastructure and a deployment say, as `settings.json` and `deployment.json` describe it.

use std::collections::BTreeMap;

use engine::failure::Failure;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{codes, secret_ref::SecretRef};

pub(super) const SETTINGS: &str = include_str!("settings.json");
pub(super) const DEPLOYMENT: &str = include_str!("deployment.json");

/// Tags and variables that begin so are ours, or the platform's.
const RESERVED_TAGS: [&str; 2] = ["slipway:", "aws:"];
const RESERVED_VARIABLES: [&str; 3] = ["SLIPWAY_", "SAGEMAKER_", "AWS_"];

/// An infrastructure's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) execution_role_arn: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) instance_count: Option<u32>,
    pub(super) variant: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) create_repository: bool,
    pub(super) base_image: Option<String>,
    pub(super) base_image_username: Option<String>,
    pub(super) base_image_password: Option<SecretRef>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) vpc: Vpc,
    pub(super) kms_key_id: Option<String>,
    pub(super) container_startup_timeout_seconds: Option<u32>,
    pub(super) data_capture: DataCapture,
    pub(super) rollout: Rollout,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Vpc {
    pub(super) subnets: Vec<String>,
    pub(super) security_group_ids: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct DataCapture {
    pub(super) enabled: bool,
    pub(super) destination_s3_uri: Option<String>,
    pub(super) sampling_percentage: u32,
    pub(super) input: bool,
    pub(super) output: bool,
    pub(super) kms_key_id: Option<String>,
}

impl Default for DataCapture {
    fn default() -> Self {
        let (enabled, input, output) = (false, true, true);
        Self { enabled, destination_s3_uri: None, sampling_percentage: 100, input, output, kms_key_id: None }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Strategy {
    #[default]
    AllAtOnce,
    Canary,
    Linear,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum StepType {
    #[default]
    CapacityPercent,
    InstanceCount,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Rollout {
    pub(super) strategy: Strategy,
    pub(super) wait_seconds: u32,
    pub(super) step_type: StepType,
    pub(super) step_size: u32,
    pub(super) termination_wait_seconds: u32,
    pub(super) maximum_execution_seconds: Option<u32>,
    pub(super) rollback_alarms: Vec<String>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            wait_seconds: 300,
            step_type: StepType::default(),
            step_size: 10,
            termination_wait_seconds: 0,
            maximum_execution_seconds: None,
            rollback_alarms: Vec::new(),
        }
    }
}

/// A deployment's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Overrides {
    pub(super) endpoint_name: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) instance_count: Option<u32>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
}

/// Reads settings that the schema let through.
pub(super) fn read<T: DeserializeOwned>(settings: &Map<String, Value>, whose: &str) -> Result<T, Failure> {
    serde_json::from_value(settings.clone().into()).map_err(|error| {
        Failure::new(codes::SETTING_INVALID, format!("The {whose}'s settings can't be read.")).detail(error.to_string())
    })
}

impl Settings {
    pub(super) fn instance_type(&self) -> &str {
        self.instance_type.as_deref().unwrap_or("ml.m5.large")
    }

    pub(super) fn variant(&self) -> &str {
        self.variant.as_deref().unwrap_or("AllTraffic")
    }

    pub(super) fn repository(&self) -> &str {
        self.repository.as_deref().unwrap_or("slipway")
    }

    /// What nothing works without: paths.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let needed = [("executionRoleArn", &self.execution_role_arn), ("baseImage", &self.base_image)];
        needed.into_iter().filter(|(_, value)| value.is_none()).map(|(path, _)| path).collect()
    }

    /// What contradicts itself: path and sentence.
    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut tell = |path: &str, sentence: &str| problems.push((path.to_owned(), sentence.to_owned()));
        if self.vpc.subnets.is_empty() != self.vpc.security_group_ids.is_empty() {
            let lacking = if self.vpc.subnets.is_empty() { "vpc.subnets" } else { "vpc.securityGroupIds" };
            tell(lacking, "A VPC needs both subnets and security groups.");
        }
        if self.data_capture.enabled {
            if self.data_capture.destination_s3_uri.is_none() {
                tell("dataCapture.destinationS3Uri", "Captured data needs a place in S3.");
            }
            if !self.data_capture.input && !self.data_capture.output {
                tell("dataCapture.enabled", "Neither requests nor answers are to be captured.");
            }
        }
        let rollout = &self.rollout;
        if rollout.step_type == StepType::CapacityPercent {
            match rollout.strategy {
                Strategy::AllAtOnce => {}
                Strategy::Canary if rollout.step_size > 50 => {
                    tell("rollout.stepSize", "A canary has at most 50 percent of the capacity.");
                }
                Strategy::Linear if !(10..=50).contains(&rollout.step_size) => {
                    tell("rollout.stepSize", "A linear step has 10 to 50 percent of the capacity.");
                }
                Strategy::Canary | Strategy::Linear => {}
            }
        }
        if self.base_image_username.is_some() != self.base_image_password.is_some() {
            let lacking = if self.base_image_password.is_some() { "baseImageUsername" } else { "baseImagePassword" };
            tell(lacking, "The base image's registry needs both a user and a password, or neither.");
        }
        reserved(&self.environment, &self.tags, &mut problems);
        problems
    }
}

impl Overrides {
    /// What contradicts itself: path and sentence.
    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        reserved(&self.environment, &self.tags, &mut problems);
        problems
    }
}

fn reserved(
    environment: &BTreeMap<String, String>,
    tags: &BTreeMap<String, String>,
    problems: &mut Vec<(String, String)>,
) {
    for name in environment.keys().filter(|name| RESERVED_VARIABLES.iter().any(|prefix| name.starts_with(prefix))) {
        problems.push((format!("environment.{name}"), "Variables that begin so are not yours to set.".to_owned()));
    }
    for name in tags.keys().filter(|name| reserved_tag(name)) {
        problems.push((format!("tags.{name}"), "Tags that begin so are not yours to set.".to_owned()));
    }
}

/// Whether a tag is ours or the platform's.
pub(super) fn reserved_tag(name: &str) -> bool {
    RESERVED_TAGS.iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A value of each property, so that a struct that knows them all reads it and is nowhere as it is by default.
    fn sample(property: &Value) -> Value {
        if property["writeOnly"] == true {
            return json!({"$secret": "x"});
        }
        match property["type"].as_str() {
            Some("boolean") => json!(!property["default"].as_bool().unwrap_or_default()),
            Some("integer") => json!(77),
            Some("array") => json!(["x"]),
            Some("object") => match property["properties"].as_object() {
                Some(inner) => inner.iter().map(|(name, inner)| (name.clone(), sample(inner))).collect(),
                None => json!({"x": "y"}),
            },
            _ => property["enum"].as_array().and_then(|all| all.last().cloned()).unwrap_or(json!("x")),
        }
    }

    fn told(property: &Value, name: &str) {
        assert!(property["title"].is_string() && property["description"].is_string(), "{name}");
        assert!(property["type"] != "object" || !property["additionalProperties"].is_null(), "{name}");
        for (name, inner) in property["properties"].as_object().into_iter().flatten() {
            told(inner, name);
        }
    }

    #[test]
    fn schemas_and_structs_have_the_same_fields() {
        let schema: Value = serde_json::from_str(SETTINGS).unwrap();
        let whole: Settings = serde_json::from_value(sample(&schema)).unwrap();
        let shown = format!("{whole:?}");
        assert!(!shown.contains("None") && !shown.contains("[]") && !shown.contains("{}"), "{shown}");
        assert_eq!(serde_json::from_value::<Settings>(json!({})).unwrap(), Settings::default());
        let deployment: Value = serde_json::from_str(DEPLOYMENT).unwrap();
        let whole: Overrides = serde_json::from_value(sample(&deployment)).unwrap();
        let shown = format!("{whole:?}");
        assert!(!shown.contains("None") && !shown.contains("{}"), "{shown}");
        for schema in [schema, deployment] {
            for (name, property) in schema["properties"].as_object().unwrap() {
                told(property, name);
            }
        }
    }

    #[test]
    fn contradictions_are_named_by_path() {
        let paths = |settings: Value| -> Vec<String> {
            let settings: Settings = serde_json::from_value(settings).unwrap();
            settings.problems().into_iter().map(|(path, _)| path).collect()
        };
        assert_eq!(paths(json!({})), [""; 0]);
        assert_eq!(paths(json!({"vpc": {"subnets": ["s"]}})), ["vpc.securityGroupIds"]);
        assert_eq!(paths(json!({"dataCapture": {"enabled": true}})), ["dataCapture.destinationS3Uri"]);
        assert_eq!(paths(json!({"rollout": {"strategy": "LINEAR", "stepSize": 5}})), ["rollout.stepSize"]);
        assert_eq!(paths(json!({"rollout": {"strategy": "CANARY", "stepSize": 60}})), ["rollout.stepSize"]);
        assert_eq!(paths(json!({"rollout": {"strategy": "ALL_AT_ONCE", "stepSize": 60}})), [""; 0]);
        assert_eq!(paths(json!({"baseImageUsername": "u"})), ["baseImagePassword"]);
        let reserved = json!({"environment": {"SLIPWAY_X": ""}, "tags": {"Slipway:x": "", "aws:x": ""}});
        assert_eq!(paths(reserved), ["environment.SLIPWAY_X", "tags.Slipway:x", "tags.aws:x"]);
        assert_eq!(Settings::default().missing(), ["executionRoleArn", "baseImage"]);
    }
}
