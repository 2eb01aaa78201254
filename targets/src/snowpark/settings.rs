//! What an infrastructure and a deployment say, as it was entered.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::secret_ref::SecretRef;

/// The schema of [`Settings`].
pub(super) const SETTINGS: &str = include_str!("settings.json");
/// The schema of [`DeploymentSettings`].
pub(super) const DEPLOYMENT: &str = include_str!("deployment.json");

/// An infrastructure's.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) database: String,
    pub(super) schema: String,
    pub(super) compute_pool: String,
    pub(super) image_repository: String,
    pub(super) warehouse: String,
    pub(super) role: String,
    pub(super) base_image: String,
    pub(super) base_image_user: String,
    pub(super) base_image_password: Option<SecretRef>,
    pub(super) min_instances: u32,
    pub(super) max_instances: u32,
    pub(super) auto_suspend_seconds: u32,
    pub(super) external_access_integrations: Vec<String>,
    pub(super) public_endpoint: bool,
    pub(super) cpu_request: String,
    pub(super) cpu_limit: String,
    pub(super) memory_request: String,
    pub(super) memory_limit: String,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) snowflake_secrets: Vec<SecretVariable>,
    pub(super) grant_usage_to: Vec<String>,
    pub(super) start_minutes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: String::new(),
            schema: String::new(),
            compute_pool: String::new(),
            image_repository: String::new(),
            warehouse: String::new(),
            role: String::new(),
            base_image: String::new(),
            base_image_user: String::new(),
            base_image_password: None,
            min_instances: 1,
            max_instances: 1,
            auto_suspend_seconds: 0,
            external_access_integrations: Vec::new(),
            public_endpoint: false,
            cpu_request: String::new(),
            cpu_limit: String::new(),
            memory_request: String::new(),
            memory_limit: String::new(),
            environment: BTreeMap::new(),
            snowflake_secrets: Vec::new(),
            grant_usage_to: Vec::new(),
            start_minutes: 20,
        }
    }
}

/// A variable that holds one of Snowflake's secrets.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct SecretVariable {
    pub(super) variable: String,
    pub(super) secret: String,
}

/// A deployment's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct DeploymentSettings {
    pub(super) function_name: String,
    pub(super) arguments: Vec<ArgumentSetting>,
    pub(super) returns: Option<String>,
    pub(super) max_batch_rows: u32,
    pub(super) min_instances: u32,
    pub(super) max_instances: u32,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) grant_usage_to: Vec<String>,
}

/// An argument of the function.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ArgumentSetting {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

/// Reads either; the sentence of what can't be read.
pub(super) fn read<T: DeserializeOwned>(settings: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(settings.clone())).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The properties of a schema and the fields that serde knows are the same, and every property can be drawn.
    fn same<T: DeserializeOwned + std::fmt::Debug>(schema: &str) {
        let schema: Value = serde_json::from_str(schema).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        let unknown = read::<T>(json!({"?": 1}).as_object().unwrap()).unwrap_err();
        let known: Vec<&str> = unknown.split('`').skip(3).step_by(2).collect();
        let mut properties: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut fields = known;
        properties.sort_unstable();
        fields.sort_unstable();
        assert_eq!(properties, fields);
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property["title"].is_string() && property["description"].is_string(), "{name}");
            if let Some(default) = property.get("default") {
                read::<T>(json!({name.as_str(): default}).as_object().unwrap()).unwrap();
            }
        }
        read::<T>(&Map::new()).unwrap();
    }

    #[test]
    fn schemas_and_settings_are_the_same() {
        same::<Settings>(SETTINGS);
        same::<DeploymentSettings>(DEPLOYMENT);
    }

    #[test]
    fn defaults_are_the_schemas() {
        let schema: Value = serde_json::from_str(SETTINGS).unwrap();
        let of_schema = schema["properties"].as_object().unwrap().iter();
        let with_default = of_schema.filter_map(|(name, p)| Some((name.clone(), p.get("default")?.clone())));
        assert_eq!(read::<Settings>(&with_default.collect()).unwrap(), Settings::default());
    }
}
