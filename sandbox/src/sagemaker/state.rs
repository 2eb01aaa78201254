//! What there is in the account.

use super::ACCOUNT;
use super::signature::Keys;
use crate::clock::now_us;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// An image repository: digests by tag.
pub(super) type Tags = BTreeMap<String, String>;

/// What becomes of the next change of an endpoint.
#[derive(Clone)]
pub(super) enum Coming {
    Failure(String),
    Mixed(String),
}

/// All of it.
#[derive(Clone)]
pub(crate) struct State {
    region: String,
    pub(super) registry: String,
    pub(super) keys: Keys,
    pub(super) external_id: Option<String>,
    pub(super) models: BTreeMap<String, Value>,
    pub(super) configs: BTreeMap<String, Value>,
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    pub(super) repositories: BTreeMap<String, Tags>,
    pub(super) tags: BTreeMap<String, Value>,
    /// What images are made of, and their manifests with their types, by digest.
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub(super) coming: Option<Coming>,
    pub(super) slowness: u32,
    pub(super) skew: i64,
    pub(super) denied: Vec<String>,
    pub(super) model_error: Option<(u16, String)>,
    pub(super) changes: Vec<(String, String)>,
    pub(super) captured: Vec<Value>,
    sessions: u32,
    ticks: i64,
}

/// An endpoint.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) config: String,
    pub(super) status: &'static str,
    pub(super) reason: Option<String>,
    pub(super) modified: f64,
    pub(super) weights: BTreeMap<String, f64>,
    /// What comes, and after how many looks.
    pub(super) next: Vec<(u32, Step)>,
    pub(super) pending: Option<String>,
}

/// One change of an endpoint that comes by itself.
#[derive(Clone)]
pub(super) enum Step {
    To(&'static str),
    Serve(String),
    Back(String),
    Fail(&'static str, String),
    Gone,
}

impl Endpoint {
    pub(super) fn serves(&self) -> bool {
        matches!(self.status, "InService" | "Updating" | "RollingBack" | "UpdateRollbackFailed")
    }
}

impl State {
    pub(super) fn new(region: &str, registry: &str) -> Self {
        Self {
            region: region.to_owned(),
            registry: registry.to_owned(),
            keys: Keys::new(),
            external_id: None,
            models: BTreeMap::new(),
            configs: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            repositories: BTreeMap::new(),
            tags: BTreeMap::new(),
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            coming: None,
            slowness: 2,
            skew: 0,
            denied: Vec::new(),
            model_error: None,
            changes: Vec::new(),
            captured: Vec::new(),
            sessions: 0,
            ticks: 0,
        }
    }

    pub(super) fn arn(&self, kind: &str, name: &str) -> String {
        format!("arn:aws:sagemaker:{}:{ACCOUNT}:{kind}/{name}", self.region)
    }

    pub(super) fn change(&mut self, operation: &str, name: &str) {
        self.changes.push((operation.to_owned(), name.to_owned()));
    }

    /// A time that is never the same twice.
    pub(super) fn tick(&mut self) -> f64 {
        self.ticks += 1;
        now_us().div_euclid(1_000_000) as f64 + self.ticks as f64 / 1_000.0
    }

    pub(super) fn new_session(&mut self, role: &str) -> (String, String, String) {
        self.sessions += 1;
        let number = self.sessions;
        let (key, secret) = (format!("ASIAPRACTICE{number:08}"), format!("session-secret-{number}"));
        let token = format!("session-token-{number}");
        self.keys.insert(key.clone(), (secret.clone(), Some(token.clone())));
        self.change("AssumeRole", role);
        (key, secret, token)
    }

    pub(super) fn expire_sessions(&mut self) {
        for (secret, token) in self.keys.values_mut() {
            if token.is_some() {
                secret.clear();
            }
        }
    }

    pub(super) fn weights_of(&self, config: &str) -> BTreeMap<String, f64> {
        let variants = self.configs.get(config).and_then(|config| config["ProductionVariants"].as_array().cloned());
        let pair = |variant: &Value| {
            Some((variant["VariantName"].as_str()?.to_owned(), variant["InitialVariantWeight"].as_f64().unwrap_or(1.0)))
        };
        variants.unwrap_or_default().iter().filter_map(pair).collect()
    }

    pub(super) fn set_weight(&mut self, endpoint: &str, variant: &str, weight: f64) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.weights.insert(variant.to_owned(), weight);
        }
    }

    pub(super) fn add_foreign_endpoint(&mut self, name: &str) {
        let modified = self.tick();
        let endpoint = Endpoint {
            config: "somebody-elses".to_owned(),
            status: "InService",
            reason: None,
            modified,
            weights: BTreeMap::new(),
            next: Vec::new(),
            pending: None,
        };
        self.endpoints.insert(name.to_owned(), endpoint);
    }

    /// One look at an endpoint brings it nearer to where it goes.
    pub(super) fn pass(&mut self, name: &str) {
        let modified = self.tick();
        let Some(endpoint) = self.endpoints.get_mut(name) else { return };
        let Some((looks, step)) = endpoint.next.first_mut() else { return };
        if *looks > 0 {
            *looks -= 1;
            return;
        }
        let step = step.clone();
        endpoint.next.remove(0);
        endpoint.modified = modified;
        match step {
            Step::To(status) => endpoint.status = status,
            Step::Serve(config) => {
                (endpoint.status, endpoint.pending, endpoint.reason) = ("InService", None, None);
                endpoint.config.clone_from(&config);
                let weights = self.weights_of(&config);
                if let Some(endpoint) = self.endpoints.get_mut(name) {
                    endpoint.weights = weights;
                }
            }
            Step::Back(reason) => {
                (endpoint.status, endpoint.pending, endpoint.reason) = ("InService", None, Some(reason));
            }
            Step::Fail(status, reason) => {
                (endpoint.status, endpoint.pending, endpoint.reason) = (status, None, Some(reason));
            }
            Step::Gone => {
                self.endpoints.remove(name);
                let arn = self.arn("endpoint", name);
                self.tags.remove(&arn);
            }
        }
    }

    pub(super) fn snapshot(&self) -> Value {
        let endpoints: Map<_, _> = self
            .endpoints
            .iter()
            .map(|(name, one)| {
                (name.clone(), json!({"config": one.config, "status": one.status, "weights": one.weights}))
            })
            .collect();
        json!({
            "models": self.models,
            "configs": self.configs,
            "endpoints": endpoints,
            "repositories": self.repositories,
            "tags": self.tags,
        })
    }
}
