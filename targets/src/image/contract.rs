//! What an image says to the node inside it. docs/IMAGES.md is the contract in words; this is its one document, `deployment.json`.

use std::collections::BTreeSet;

use engine::failure::{Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layer::{Content, LayerError, LayerPlan, Mode};
use crate::codes;

/// Where the packages and the document lie.
pub const SERVICE_FOLDER: &str = "/opt/slipway/service";
/// The document, in that folder.
pub const DEPLOYMENT_FILE: &str = "deployment.json";
/// Where `slipway` lies in an image with a front.
pub const BINARY: &str = "/opt/slipway/bin/slipway";
/// Where the node listens.
pub const NODE_PORT: u16 = 12_000;
/// What the node answers with a success when it can be queried.
pub const HEALTH_PATH: &str = "/isAlive/";

/// The form that this build writes.
const FORMAT: u32 = 1;
/// More generations at once are refused.
const MAX_GENERATIONS: usize = 32;
/// Longer names are refused, in characters.
const MAX_NAME: usize = 200;
/// More argument names are refused.
const MAX_ARGUMENTS: usize = 1_000;
/// A larger document is refused, in bytes.
const MAX_DOCUMENT: usize = 256 * 1024;

/// `deployment.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServedDeployment {
    /// 1.
    pub format: u32,
    /// What the node calls the service: the middle part of a query's address.
    pub service_id: String,
    /// The versions that are served, each with its share of the queries.
    pub generations: Vec<ServedGeneration>,
    /// Instead of what the packages say about who may query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Where the node sends its query log, as an API node's settings say it. Without the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auditing: Option<Value>,
    /// The one endpoint that a front serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<ServedEndpoint>,
}

/// A version of the service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServedGeneration {
    /// Its name on the node: the version's id.
    pub generation: String,
    /// The package's file, beside the document.
    pub file: String,
    /// The share of the queries, above 0. All together are 1.
    pub proba: f64,
}

/// Who may query. Keys are never in an image: only the name of the variable that holds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Authentication {
    /// Anybody.
    Public,
    /// Whoever has a key.
    Keys {
        /// The variable of the container's environment that holds the keys, one a line.
        variable: String,
    },
    /// Whoever has a token that these settings accept. They hold nothing secret.
    Jwt {
        /// As an API node's settings say it.
        settings: Value,
    },
}

/// The endpoint behind a front.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServedEndpoint {
    /// The last part but one of a query's address.
    pub id: String,
    /// What kind it is.
    #[serde(rename = "type")]
    pub kind: EndpointType,
    /// The names of its arguments in order, for platforms that pass them by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// The kinds of endpoints, as Dataiku names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum EndpointType {
    StdPrediction,
    StdClustering,
    StdForecast,
    StdCausalPrediction,
    StdMultitargetPrediction,
    CustomPrediction,
    CustomRPrediction,
    RFunction,
    PyFunction,
    DatasetsLookup,
    SqlQuery,
}

/// Why it is no sound document. `Display` names the field.
#[derive(Debug, thiserror::Error)]
#[error("{DEPLOYMENT_FILE}: {field}: {problem}")]
pub struct ContractError {
    /// Where.
    pub field: String,
    /// What is wrong there.
    pub problem: String,
}

impl ContractError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// Its failure code.
    pub fn code(&self) -> Code {
        codes::IMAGE_CONTRACT_INVALID
    }
}

impl From<ContractError> for Failure {
    fn from(error: ContractError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl ServedDeployment {
    /// One version that gets every query; its package is called `ID.zip` after the version.
    pub fn single(service_id: &str, generation: &str) -> Self {
        let generation =
            ServedGeneration { generation: generation.to_owned(), file: format!("{generation}.zip"), proba: 1.0 };
        Self {
            format: FORMAT,
            service_id: service_id.to_owned(),
            generations: vec![generation],
            authentication: None,
            auditing: None,
            endpoint: None,
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// [`ContractError`] with the first field that is wrong.
    pub fn parse(document: &[u8]) -> Result<Self, ContractError> {
        if document.len() > MAX_DOCUMENT {
            return Err(ContractError::new("all of it", format!("more than {MAX_DOCUMENT} bytes.")));
        }
        let read: Self = serde_json::from_slice(document).map_err(|error| {
            ContractError::new(format!("line {}", error.line()), format!("not as docs/IMAGES.md says it: {error}"))
        })?;
        read.check()?;
        Ok(read)
    }

    /// Writes the document.
    ///
    /// # Errors
    /// [`ContractError`] with the first field that is wrong.
    pub fn document(&self) -> Result<Vec<u8>, ContractError> {
        self.check()?;
        let written = serde_json::to_vec_pretty(self);
        let written = written.map_err(|error| ContractError::new("all of it", error.to_string()))?;
        if written.len() > MAX_DOCUMENT {
            return Err(ContractError::new("auditing", format!("more than {MAX_DOCUMENT} bytes in all.")));
        }
        Ok(written)
    }

    /// Adds the document and the packages to a layer; `packages` are the generations' contents, in order.
    ///
    /// # Errors
    /// [`ContractError`] and [`LayerError`], as a failure.
    pub fn lay(&self, packages: Vec<Content>, plan: &mut LayerPlan) -> Result<(), Failure> {
        let document = self.document()?;
        if packages.len() != self.generations.len() {
            let problem = format!("{} packages for {} generations.", packages.len(), self.generations.len());
            return Err(ContractError::new("generations", problem).into());
        }
        let mut add = |name: &str, content| plan.add(&format!("{SERVICE_FOLDER}/{name}"), Mode::Data, content);
        add(DEPLOYMENT_FILE, Content::Bytes(document.into())).map_err(LayerError::into_failure)?;
        for (generation, package) in self.generations.iter().zip(packages) {
            add(&generation.file, package).map_err(LayerError::into_failure)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ContractError> {
        if self.format != FORMAT {
            return Err(ContractError::new(
                "format",
                format!("{} is unknown; this build reads {FORMAT}.", self.format),
            ));
        }
        named("serviceId", &self.service_id)?;
        let all = &self.generations;
        if all.is_empty() || all.len() > MAX_GENERATIONS {
            return Err(ContractError::new("generations", format!("1 to {MAX_GENERATIONS} are needed.")));
        }
        let (mut names, mut files) = (BTreeSet::new(), BTreeSet::new());
        for (n, each) in all.iter().enumerate() {
            named(&format!("generations[{n}].generation"), &each.generation)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let is_file = each.file.ends_with(".zip")
                && each.file.len() <= 70
                && each.file.chars().all(plain)
                && !each.file.starts_with('.');
            if !is_file {
                let problem = "a name of letters, digits, \".\", \"_\" and \"-\" that ends with .zip, at most 70.";
                return Err(ContractError::new(format!("generations[{n}].file"), problem));
            }
            if !(each.proba > 0.0 && each.proba <= 1.0) {
                return Err(ContractError::new(format!("generations[{n}].proba"), "above 0 and at most 1."));
            }
            if !names.insert(&each.generation) || !files.insert(&each.file) {
                return Err(ContractError::new(format!("generations[{n}]"), "named before."));
            }
        }
        if (all.iter().map(|each| each.proba).sum::<f64>() - 1.0).abs() > 1e-6 {
            return Err(ContractError::new("generations", "the probabilities must add up to 1."));
        }
        if let Some(Authentication::Keys { variable }) = &self.authentication {
            let fine = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if variable.is_empty() || variable.len() > MAX_NAME || !variable.chars().all(fine) {
                return Err(ContractError::new(
                    "authentication.variable",
                    "the name of a variable: A-Z, 0-9 and \"_\".",
                ));
            }
        }
        if let Some(endpoint) = &self.endpoint {
            named("endpoint.id", &endpoint.id)?;
            if endpoint.arguments.len() > MAX_ARGUMENTS {
                return Err(ContractError::new("endpoint.arguments", format!("at most {MAX_ARGUMENTS}.")));
            }
            for (n, name) in endpoint.arguments.iter().enumerate() {
                named(&format!("endpoint.arguments[{n}]"), name)?;
            }
        }
        Ok(())
    }
}

fn named(field: &str, text: &str) -> Result<(), ContractError> {
    let fine = !text.trim().is_empty() && text.chars().count() <= MAX_NAME && !text.contains(char::is_control);
    if fine { Ok(()) } else { Err(ContractError::new(field, format!("1 to {MAX_NAME} characters that can be seen."))) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole() -> Value {
        json!({
            "format": 1,
            "serviceId": "churn",
            "generations": [
                {"generation": "v1", "file": "v1.zip", "proba": 0.25},
                {"generation": "v2", "file": "v2.zip", "proba": 0.75},
            ],
            "authentication": {"mode": "KEYS", "variable": "SERVICE_KEYS"},
            "auditing": {"type": "EVENT_SERVER"},
            "endpoint": {"id": "predict", "type": "STD_PREDICTION", "arguments": ["age"]},
        })
    }

    #[test]
    fn what_is_written_is_read() {
        let read = ServedDeployment::parse(whole().to_string().as_bytes()).unwrap();
        assert_eq!(ServedDeployment::parse(&read.document().unwrap()).unwrap(), read);
        assert_eq!(serde_json::from_slice::<Value>(&read.document().unwrap()).unwrap(), whole());
        let single = ServedDeployment::single("churn", "v1");
        assert_eq!(ServedDeployment::parse(&single.document().unwrap()).unwrap(), single);
    }

    #[test]
    fn each_refusal_names_its_field() {
        for (pointer, value, field) in [
            ("/format", json!(2), "format"),
            ("/serviceId", json!(" "), "serviceId"),
            ("/generations", json!([]), "generations"),
            ("/generations/1/generation", json!("v1"), "generations[1]"),
            ("/generations/0/file", json!("../v1.zip"), "generations[0].file"),
            ("/generations/0/file", json!(".zip"), "generations[0].file"),
            ("/generations/0/proba", json!(0.0), "generations[0].proba"),
            ("/generations/0/proba", json!(0.5), "generations"),
            ("/authentication/variable", json!("a b"), "authentication.variable"),
            ("/endpoint/id", json!(""), "endpoint.id"),
            ("/endpoint/arguments/0", json!("\u{7}"), "endpoint.arguments[0]"),
            ("/endpoint/type", json!("OTHER"), "line 1"),
        ] {
            let mut document = whole();
            *document.pointer_mut(pointer).unwrap() = value;
            let error = ServedDeployment::parse(document.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.field, field, "{pointer}: {error}");
        }
        assert!(ServedDeployment::parse(&vec![b' '; MAX_DOCUMENT + 1]).is_err());
    }
}
