//! Kubernetes: a service is a Deployment whose image is a base image with the service laid on it.
//!
//! * `settings`, `problems`: what administrators say; `access`, `kubeconfig`, `yaml`: how the cluster is reached; `api`: the API server, over the one HTTP client.
//! * `names`, `objects`, `offered`: what our objects are called, and in which version of its API each is written. `manifests`: the objects, pure functions, one kind a
//!   file; `own_yaml`, `variables`: those that an administrator wrote.
//! * `place`: one deployment on one cluster; `notes`: what a run remembers. `apply`, `prune`, `differences`, `strays`: never over another manager's head,
//!   never what is not ours.
//! * One file a step: `validate` (with `rights`), `push`, `activate` (with `rollout`), `enforce`, `verify` (with `urls`), `restore`, `turn_off`.
//! * `check`, `preview`, `observe`, `query`: looks.

mod access;
mod activate;
mod api;
mod apply;
mod check;
mod differences;
mod enforce;
mod kubeconfig;
mod manifests;
mod names;
mod notes;
mod objects;
mod observe;
mod offered;
mod own_yaml;
mod place;
mod preview;
mod problems;
mod prune;
mod push;
mod query;
mod restore;
mod rights;
mod rollout;
mod settings;
mod strays;
mod turn_off;
mod urls;
mod validate;
mod variables;
mod verify;
mod yaml;

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use engine::failure::{Failure, StepResult};
use serde_json::{Map, Value};

use self::access::Inside;
use crate::{
    http::Http,
    on_node::OnNode,
    spec::InfrastructureSpec,
    target::{
        Description, Difference, Entered, Half, Look, NodeReport, Preview, Receipt, Secrets, ServiceAnswer,
        ServiceQuery, Services, Target, Work,
    },
    tools::Tools,
};

/// Kubernetes, as a target.
#[derive(Clone, Debug)]
pub struct K8s {
    http: Http,
    tools: Tools,
    inside: Inside,
}

impl K8s {
    /// With the process's HTTP client.
    pub fn new(tools: &Tools) -> Self {
        Self { http: tools.http.clone(), tools: tools.clone(), inside: Inside::of_this_process() }
    }
}

#[async_trait]
impl Target for K8s {
    fn describe(&self) -> Description {
        Description {
            label: "Kubernetes",
            half: Half::Api,
            settings: include_str!("k8s/settings.json"),
            deployment: include_str!("k8s/deployment.json"),
            connection: None,
            one_endpoint: false,
        }
    }

    fn problems(&self, settings: &Map<String, Value>) -> Vec<(String, String)> {
        problems::of_settings(settings, &self.http.settings().blocked)
    }

    fn unreadable(&self, settings: &Map<String, Value>, entered: Entered<'_>) -> Vec<(String, String)> {
        access::unreadable(&self.http, settings, entered)
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        check::check(self, place, secrets).await
    }

    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure> {
        preview::preview(self, look).await
    }

    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure> {
        observe::observe(self, look).await
    }

    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
        observe::drift(self, look, receipt).await
    }

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(self, work).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        push::push(self, work).await
    }

    async fn activate(&self, work: &Work<'_>) -> StepResult {
        activate::activate(self, work).await
    }

    async fn enforce(&self, work: &Work<'_>) -> StepResult {
        enforce::enforce(self, work).await
    }

    async fn verify(&self, work: &Work<'_>) -> StepResult {
        verify::verify(self, work).await
    }

    async fn switch_off(&self, work: &Work<'_>) -> StepResult {
        turn_off::switch_off(self, work).await
    }

    async fn remove(&self, work: &Work<'_>) -> StepResult {
        turn_off::remove(self, work).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        restore::restore(self, work).await
    }

    fn inherits(&self, step: &str, note: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Value)> {
        match step {
            // What a run applied and never verified is nothing to go back to.
            "activate" => note(notes::PRIOR).map(|prior| (notes::PRIOR, prior)).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

#[async_trait]
impl Services for K8s {
    fn has_gate(&self) -> bool {
        false
    }

    fn problems(&self, infrastructure: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
        problems::of_deployment(infrastructure, own)
    }

    async fn query(&self, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
        query::query(self, look, query).await
    }
}
