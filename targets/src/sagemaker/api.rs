//! SageMaker's API, as far as we use it.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    aws::{Account, AwsError, Kind, Service},
    codes,
    http::{CallError, Effect},
};

/// Longer lists are an error, in pages of [`PAGE`].
const PAGES: usize = 50;
const PAGE: usize = 100;

/// An endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Endpoint {
    #[serde(rename = "EndpointArn")]
    pub(super) arn: String,
    #[serde(rename = "EndpointConfigName")]
    pub(super) config: Option<String>,
    #[serde(rename = "EndpointStatus")]
    pub(super) status: String,
    pub(super) failure_reason: Option<String>,
    pub(super) last_modified_time: Value,
    #[serde(default)]
    pub(super) production_variants: Vec<VariantState>,
    pub(super) pending_deployment_summary: Option<Pending>,
}

/// A variant, as it is on its machines.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VariantState {
    #[serde(rename = "VariantName")]
    pub(super) name: String,
    pub(super) current_weight: Option<f64>,
    pub(super) desired_weight: Option<f64>,
    pub(super) current_instance_count: Option<u32>,
}

/// What an endpoint is on its way to.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pending {
    #[serde(rename = "EndpointConfigName")]
    pub(super) config: String,
}

/// Where an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It takes queries, or would if it had machines.
    Serving,
    /// It is on its way somewhere.
    Changing,
    /// It goes.
    Deleting,
    /// It never came to serve.
    Failed,
    /// Neither the new nor the old is whole.
    Mixed,
}

impl Endpoint {
    pub(super) fn state(&self) -> State {
        match self.status.as_str() {
            "InService" | "OutOfService" => State::Serving,
            "Deleting" => State::Deleting,
            "Failed" => State::Failed,
            "UpdateRollbackFailed" => State::Mixed,
            // Creating, Updating, SystemUpdating, RollingBack; and what SageMaker may learn to say.
            _ => State::Changing,
        }
    }

    /// Whether queries are answered meanwhile.
    pub(super) fn takes_queries(&self) -> bool {
        matches!(
            self.status.as_str(),
            "InService" | "Updating" | "SystemUpdating" | "RollingBack" | "UpdateRollbackFailed"
        )
    }
}

/// A configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(rename = "EndpointConfigArn")]
    pub(super) arn: String,
    #[serde(default)]
    pub(super) production_variants: Vec<Variant>,
    pub(super) data_capture_config: Option<Value>,
    pub(super) kms_key_id: Option<String>,
}

/// A variant of a configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Variant {
    #[serde(rename = "VariantName")]
    pub(super) name: String,
    #[serde(rename = "ModelName")]
    pub(super) model: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) initial_instance_count: Option<u32>,
    pub(super) initial_variant_weight: Option<f64>,
    pub(super) container_startup_health_check_timeout_in_seconds: Option<u32>,
}

/// A model.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Model {
    #[serde(rename = "ModelArn")]
    pub(super) arn: String,
    pub(super) primary_container: Option<Container>,
    pub(super) execution_role_arn: Option<String>,
    pub(super) vpc_config: Option<Value>,
}

/// The container of a model.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
}

/// The kinds of things that we make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Endpoint,
    Config,
    Model,
}

impl Thing {
    fn noun(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Config => "endpoint configuration",
            Self::Model => "model",
        }
    }

    /// As operations are called after it.
    fn word(self) -> &'static str {
        match self {
            Self::Endpoint => "Endpoint",
            Self::Config => "EndpointConfig",
            Self::Model => "Model",
        }
    }
}

impl Account {
    async fn sagemaker<T: DeserializeOwned>(&self, operation: &str, body: &Value, doing: &str) -> Result<T, AwsError> {
        self.json(Service::SageMaker, operation, body, doing).await
    }

    /// A thing of this name, if there is one.
    pub(super) async fn described<T: DeserializeOwned>(&self, thing: Thing, name: &str) -> Result<Option<T>, AwsError> {
        let (noun, word) = (thing.noun(), thing.word());
        let body = json!({format!("{word}Name"): name});
        AwsError::unless_missing(
            self.sagemaker(&format!("Describe{word}"), &body, &format!("reading the {noun} {name}")).await,
        )
    }

    /// Makes a thing; `body` holds its name.
    pub(super) async fn create(&self, thing: Thing, name: &str, body: &Value) -> Result<(), AwsError> {
        let doing = format!("creating the {} {name}", thing.noun());
        self.said(Service::SageMaker, &format!("Create{}", thing.word()), body, &doing).await.map(drop)
    }

    /// Moves an endpoint to a configuration.
    pub(super) async fn update_endpoint(&self, name: &str, body: &Value) -> Result<(), AwsError> {
        let doing = format!("updating the endpoint {name}");
        self.said(Service::SageMaker, "UpdateEndpoint", body, &doing).await.map(drop)
    }

    /// Deletes a thing; one that is gone already is fine.
    pub(super) async fn delete(&self, thing: Thing, name: &str) -> Result<(), AwsError> {
        let (noun, word) = (thing.noun(), thing.word());
        let doing = format!("deleting the {noun} {name}");
        let body = json!({format!("{word}Name"): name});
        match self.said(Service::SageMaker, &format!("Delete{word}"), &body, &doing).await {
            Err(error) if error.kind != Kind::Missing => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives a thing tags; those of other names stay.
    pub(super) async fn add_tags(&self, arn: &str, tags: &Value) -> Result<(), AwsError> {
        let body = json!({"ResourceArn": arn, "Tags": tags});
        self.said(Service::SageMaker, "AddTags", &body, "tagging a resource").await.map(drop)
    }

    /// The tags of a thing.
    pub(super) async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let doing = "reading the tags of a resource";
        let pages = self.pages("ListTags", json!({"ResourceArn": arn}), "Tags", doing).await?;
        let pair = |tag: &Value| Some((tag.get("Key")?.as_str()?.to_owned(), tag.get("Value")?.as_str()?.to_owned()));
        Ok(pages.iter().filter_map(pair).collect())
    }

    /// The names of the things whose names contain `part`.
    pub(super) async fn named(&self, thing: Thing, part: &str) -> Result<Vec<String>, AwsError> {
        let (noun, word) = (thing.noun(), thing.word());
        let body = json!({"NameContains": part, "MaxResults": PAGE});
        let doing = format!("listing the {noun}s");
        let found = self.pages(&format!("List{word}s"), body, &format!("{word}s"), &doing).await?;
        let name = format!("{word}Name");
        let names = found.iter().filter_map(|one| one.get(&name)?.as_str());
        Ok(names.filter(|name| name.contains(part)).map(str::to_owned).collect())
    }

    /// Reads a little of the list of endpoints: whether we may.
    pub(crate) async fn some_endpoint(&self) -> Result<(), AwsError> {
        let doing = "listing the endpoints";
        self.said(Service::SageMaker, "ListEndpoints", &json!({"MaxResults": 1}), doing).await.map(drop)
    }

    async fn pages(&self, operation: &str, body: Value, list: &str, doing: &str) -> Result<Vec<Value>, AwsError> {
        let (mut found, mut body) = (Vec::new(), body);
        for _ in 0..PAGES {
            let mut page: Value = self.sagemaker(operation, &body, doing).await?;
            if let Some(Value::Array(items)) = page.get_mut(list).map(Value::take) {
                found.extend(items);
            }
            match page.get("NextToken").and_then(Value::as_str).filter(|token| !token.is_empty()) {
                Some(token) => body["NextToken"] = json!(token),
                None => return Ok(found),
            }
        }
        let message = format!("Amazon SageMaker has more to list than Slipway reads ({doing}).");
        Err(CallError::permanent(codes::NODE_ANSWER_TOO_LARGE, message, Effect::None).into())
    }
}
