//! What is in the account of a deployment, read back.

use std::collections::BTreeMap;

use engine::failure::Code;
use serde_json::{Value, json};

use super::{
    api::{Config, Endpoint, Model, State, Thing, Variant},
    goal::Goal,
    names::VERSION,
    session::Place,
};
use crate::{
    aws::{AwsError, Service},
    codes,
    on_node::{OnNode, OnService, ServiceTrouble},
    target::{Difference, Receipt, ServiceReceipt, VersionShare},
};

/// Shares are compared so finely.
const FINE: f64 = 1e-4;

/// A variant of a configuration, with what its model says.
pub(super) struct Served {
    pub(super) variant: Variant,
    pub(super) version: String,
    pub(super) image: String,
    pub(super) model: Option<Model>,
}

/// What a configuration serves; None when it is not there.
pub(super) async fn served(place: &Place<'_>, config: &str) -> Result<Option<(Config, Vec<Served>)>, AwsError> {
    let Some(found) = place.account.described::<Config>(Thing::Config, config).await? else { return Ok(None) };
    let mut served = Vec::new();
    for variant in &found.production_variants {
        let model = match &variant.model {
            Some(model) => place.account.described::<Model>(Thing::Model, model).await?,
            None => None,
        };
        let container = model.as_ref().and_then(|model| model.primary_container.clone()).unwrap_or_default();
        // A variant that we did not make is called by its own name.
        let version = container.environment.get(VERSION).unwrap_or(&variant.name);
        served.push(Served {
            version: place.clean(version),
            image: place.clean(container.image.as_deref().unwrap_or_default()),
            variant: variant.clone(),
            model,
        });
    }
    Ok(Some((found, served)))
}

/// The versions of a configuration and their shares.
pub(super) async fn shares(place: &Place<'_>, config: &str) -> Result<Vec<VersionShare>, AwsError> {
    let served = served(place, config).await?;
    let weight = |served: &Served| served.variant.initial_variant_weight.unwrap_or(1.0);
    Ok(served.map(|(_, served)| in_shares(&served, weight)).unwrap_or_default())
}

fn in_shares(served: &[Served], weight: impl Fn(&Served) -> f64) -> Vec<VersionShare> {
    let whole: f64 = served.iter().map(&weight).sum();
    if whole <= 0.0 {
        return Vec::new();
    }
    let share = |served: &Served| VersionShare { version: served.version.clone(), probability: weight(served) / whole };
    served.iter().map(share).filter(|share| share.probability > 0.0).collect()
}

/// Everything that is read back of a deployment.
pub(super) struct Reading {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) config: Option<Config>,
    pub(super) served: Vec<Served>,
    pub(super) shares: Vec<VersionShare>,
}

pub(super) async fn read(place: &Place<'_>) -> Result<Reading, AwsError> {
    let endpoint = place.endpoint().await?;
    let config = endpoint.as_ref().and_then(|endpoint| endpoint.config.as_deref());
    let found = match config {
        Some(config) => served(place, config).await?,
        None => None,
    };
    let (config, served) = found.map_or((None, Vec::new()), |(config, served)| (Some(config), served));
    let states = endpoint.as_ref().map(|endpoint| endpoint.production_variants.as_slice()).unwrap_or_default();
    // Weights may be changed at the endpoint itself; they count.
    let weight = |served: &Served| {
        let state = states.iter().find(|state| state.name == served.variant.name);
        state
            .and_then(|state| state.current_weight.or(state.desired_weight))
            .or(served.variant.initial_variant_weight)
            .unwrap_or(1.0)
    };
    let shares = in_shares(&served, weight);
    Ok(Reading { endpoint, config, served, shares })
}

impl Place<'_> {
    /// Where the endpoint is called.
    pub(super) fn url(&self) -> String {
        let base = match self.account.endpoint(Service::SageMakerRuntime) {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => Service::SageMakerRuntime.url(&self.account.region),
        };
        format!("{base}/endpoints/{}/invocations", self.names.endpoint)
    }
}

impl Reading {
    /// What there should be for the spec, with the images that are there; a version that is not has none.
    pub(super) fn goal(&self, place: &Place<'_>) -> Goal {
        let image = |version: &crate::spec::ServiceVersionSpec| {
            let served = self.served.iter().find(|one| one.version == place.clean(&version.version));
            served.map(|served| served.image.clone()).unwrap_or_default()
        };
        place.goal(&place.service.versions.iter().map(image).collect::<Vec<_>>())
    }

    /// Models of ours that somebody replaced: the versions.
    pub(super) fn replaced(&self, place: &Place<'_>) -> Vec<String> {
        let goal = self.goal(place);
        let is_other = |served: &&Served| {
            let made = goal.models.iter().find(|made| served.variant.model.as_deref() == Some(&*made.name));
            made.zip(served.model.as_ref()).is_some_and(|(made, found)| !made.is_model(found))
        };
        self.served.iter().filter(is_other).map(|served| served.version.clone()).collect()
    }

    /// The receipt, against the configuration and the shares that should be there.
    pub(super) fn receipt(&self, place: &Place<'_>, config: Option<&str>, wanted: &[VersionShare]) -> Receipt {
        let status = self.endpoint.as_ref().map(|endpoint| place.clean(&endpoint.status));
        let found_config = self.endpoint.as_ref().and_then(|endpoint| endpoint.config.clone());
        let found_config = found_config.map(|config| place.clean(&config));
        let mut differences = Vec::new();
        if status.as_deref() != Some("InService") {
            differences.push(difference(STATUS, json!(status), json!("InService")));
        }
        if config.is_some() && found_config.as_deref() != config {
            differences.push(difference(CONFIG, json!(found_config), json!(config)));
        }
        if !same(&self.shares, wanted) {
            differences.push(difference(SHARES, told(&self.shares), told(wanted)));
        }
        let images: BTreeMap<_, _> = self.served.iter().map(|one| (one.version.clone(), json!(one.image))).collect();
        let facts = BTreeMap::from([
            ("endpoint".to_owned(), json!(place.names.endpoint)),
            ("endpointStatus".to_owned(), json!(status)),
            (FACT_CONFIG.to_owned(), json!(found_config)),
            ("images".to_owned(), json!(images)),
            ("region".to_owned(), json!(place.account.region)),
        ]);
        let service = ServiceReceipt {
            service_id: place.service.service_id.clone(),
            enabled: self.endpoint.as_ref().is_some_and(Endpoint::takes_queries),
            versions: self.shares.clone(),
            urls: vec![place.url()],
            facts,
        };
        Receipt { service: Some(service), differences, ..Receipt::default() }
    }

    /// How it is, for health.
    pub(super) fn on_node(&self, place: &Place<'_>) -> OnNode {
        let Some(endpoint) = &self.endpoint else { return OnNode::default() };
        let service = OnService {
            enabled: endpoint.takes_queries(),
            versions: self.shares.clone(),
            urls: vec![place.url()],
            troubles: troubles(place, endpoint),
        };
        OnNode { exists: true, service: Some(service), ..OnNode::default() }
    }
}

/// What a [`Difference`] calls the endpoint's status, its configuration, and the versions' shares.
const STATUS: &str = "the endpoint's status";
const CONFIG: &str = "the endpoint's configuration";
const SHARES: &str = "the versions and their shares";
/// The receipt's fact that names the configuration.
pub(super) const FACT_CONFIG: &str = "endpointConfiguration";

fn difference(what: &str, found: Value, wanted: Value) -> Difference {
    Difference { what: what.to_owned(), found, wanted }
}

fn told(shares: &[VersionShare]) -> Value {
    json!(shares.iter().map(|share| (share.version.clone(), share.probability)).collect::<BTreeMap<_, _>>())
}

pub(super) fn same(found: &[VersionShare], wanted: &[VersionShare]) -> bool {
    found.len() == wanted.len()
        && wanted.iter().all(|wanted| {
            let is_same = |found: &VersionShare| {
                found.version == wanted.version && (found.probability - wanted.probability).abs() < FINE
            };
            found.iter().any(is_same)
        })
}

impl Place<'_> {
    /// The shares that the spec wants.
    pub(super) fn wanted(&self) -> Vec<VersionShare> {
        let share = |version: &crate::spec::ServiceVersionSpec| VersionShare {
            version: self.clean(&version.version),
            probability: version.probability,
        };
        self.service.versions.iter().map(share).collect()
    }
}

fn troubles(place: &Place<'_>, endpoint: &Endpoint) -> Vec<ServiceTrouble> {
    let name = &place.names.endpoint;
    let trouble = |is_error: bool, code: Code, message: String| ServiceTrouble { is_error, code, message };
    let reason = endpoint.failure_reason.as_deref().map(|reason| place.clean(reason)).filter(|text| !text.is_empty());
    let mut troubles = Vec::new();
    match endpoint.state() {
        State::Failed => {
            let failure = place.failed(endpoint);
            troubles.push(trouble(true, failure.code, failure.message));
        }
        State::Mixed => {
            let failure = place.mixed(endpoint);
            troubles.push(trouble(true, failure.code, failure.message));
        }
        State::Changing | State::Deleting => {
            let to = endpoint.pending_deployment_summary.as_ref();
            let to = to.map(|to| format!(", to the configuration {}", place.clean(&to.config))).unwrap_or_default();
            let message = format!("The endpoint {name} is on its way ({}{to}).", place.clean(&endpoint.status));
            troubles.push(trouble(endpoint.state() == State::Deleting, codes::SAGEMAKER_ENDPOINT_CHANGING, message));
        }
        State::Serving => {
            if endpoint.status == "OutOfService" {
                let message = format!("The endpoint {name} is out of service.");
                troubles.push(trouble(true, codes::SAGEMAKER_ENDPOINT_FAILED, message));
            }
            if let Some(reason) = reason {
                let message = format!("The last update of the endpoint {name} was rolled back. Its reason: {reason}");
                troubles.push(trouble(false, codes::SAGEMAKER_ROLLED_BACK, message));
            }
            for empty in endpoint.production_variants.iter().filter(|one| one.current_instance_count == Some(0)) {
                let message =
                    format!("The variant {} of the endpoint {name} has no machine.", place.clean(&empty.name));
                troubles.push(trouble(true, codes::SAGEMAKER_ENDPOINT_FAILED, message));
            }
        }
    }
    troubles
}
