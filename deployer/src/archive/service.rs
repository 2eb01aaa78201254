//! `service.json`, the manifest of an API service version.

use engine::secrets::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ArchiveError, id_problem, json, json::nullable};

/// Its name, at the root of the archive.
pub(super) const FILE: &str = "service.json";

/// What an API service version says of itself.
#[derive(Clone, Debug)]
pub struct ServiceContents {
    /// The service.
    pub service_id: String,
    /// The version, `generation` in the manifest.
    pub generation: String,
    /// The manifest, unknown keys and all.
    pub manifest: ServiceManifest,
}

/// A service version's manifest. Only the two ids are needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceManifest {
    /// Of the manifest; absent means 1.
    #[serde(default = "json::first_format", deserialize_with = "json::format_version")]
    pub format_version: u64,
    /// The service.
    #[serde(default, deserialize_with = "nullable")]
    pub service_id: String,
    /// The version.
    #[serde(default, deserialize_with = "nullable")]
    pub generation: String,
    /// `PUBLIC`, `API_KEYS` or `OAUTH2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
    /// The keys that callers need. Secrets: never written back; seal them to keep them.
    #[serde(default, deserialize_with = "nullable", skip_serializing)]
    pub api_keys: Vec<Secret>,
    /// What can be called.
    #[serde(default, deserialize_with = "nullable")]
    pub endpoints: Vec<ServiceEndpoint>,
    /// The code environments that it uses.
    #[serde(default, deserialize_with = "nullable")]
    pub code_envs: Vec<Value>,
    /// What models run in, such as `python3.11`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_runtime: Option<String>,
    /// What else the manifest holds.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One endpoint of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEndpoint {
    /// Its id.
    pub id: String,
    /// Its type, such as `STD_PREDICTION`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What else it says.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Reads the manifest's bytes.
pub(super) fn read(bytes: &[u8], most_values: u64) -> Result<ServiceContents, ArchiveError> {
    let manifest: ServiceManifest = json::manifest(FILE, bytes, most_values)?;
    let invalid = |path: String, problem: &str| ArchiveError::ManifestInvalid {
        file: FILE,
        path,
        problem: problem.trim_end_matches('.').to_owned(),
    };
    for (field, id) in [("serviceId", &manifest.service_id), ("generation", &manifest.generation)] {
        if let Some(problem) = id_problem(id) {
            return Err(ArchiveError::ServiceIdInvalid { field, problem });
        }
    }
    if let Some(method) = &manifest.auth_method
        && !matches!(method.as_str(), "PUBLIC" | "API_KEYS" | "OAUTH2")
    {
        return Err(invalid("authMethod".to_owned(), "it must be PUBLIC, API_KEYS or OAUTH2"));
    }
    for (at, endpoint) in manifest.endpoints.iter().enumerate() {
        if let Some(problem) = id_problem(&endpoint.id) {
            return Err(invalid(format!("endpoints[{at}].id"), &problem));
        }
        if manifest.endpoints[..at].iter().any(|other| other.id == endpoint.id) {
            return Err(invalid(format!("endpoints[{at}].id"), "there is an endpoint of this id before"));
        }
    }
    Ok(ServiceContents { service_id: manifest.service_id.clone(), generation: manifest.generation.clone(), manifest })
}
