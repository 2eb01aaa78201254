//! Static API nodes: Dataiku's API nodes that somebody else runs, each with an admin key.
//!
//! * `settings`: what an infrastructure says; `session`: one node, one service.
//! * `client`: the admin API; `probe`: the query API; `notes`: what a run remembers; `flight`: calls whose answer may be lost; `foreign`: what lies there under our names.
//! * `deliver`: how a package reaches a node's disk: shared folder, copy command, agent.
//! * One file per step: `validate`, `push`, `activate`, `enforce`, `verify`, `turn_off` (with removing), `restore`.
//! * `look`: check, preview, health, drift; `query`: queries through the deployer.
//!
//! Who may call and where queries are logged has no call of the admin API: it is amended in the package (`service_package`).

mod activate;
mod client;
mod deliver;
mod enforce;
mod flight;
mod foreign;
mod look;
mod notes;
mod probe;
mod push;
mod query;
mod restore;
mod session;
mod settings;
mod turn_off;
mod validate;
mod verify;

use std::sync::Arc;

use async_trait::async_trait;
use engine::failure::{Failure, StepResult};
use serde_json::{Map, Value};

use self::{session::Session, settings::Settings};
use crate::{
    on_node::OnNode,
    spec::{InfrastructureSpec, NamedNode},
    target::{
        Description, Difference, Half, Look, NO_SETTINGS, NodeReport, Preview, Receipt, Secrets, ServiceAnswer,
        ServiceQuery, Services, Target, Work,
    },
    tools::Tools,
};

/// Static API nodes, as a target.
#[derive(Clone, Debug)]
pub struct StaticNodes {
    tools: Tools,
    silent: Arc<query::Silent>,
}

impl StaticNodes {
    /// With what every target is made with.
    pub fn new(tools: &Tools) -> Self {
        Self { tools: tools.clone(), silent: Arc::default() }
    }
}

#[async_trait]
impl Target for StaticNodes {
    fn describe(&self) -> Description {
        Description {
            label: "Static API nodes",
            half: Half::Api,
            settings: include_str!("api_static/settings.json"),
            deployment: NO_SETTINGS,
            connection: None,
            one_endpoint: false,
        }
    }

    fn nodes(settings: &Map<String, Value>) -> Vec<NamedNode> {
        Settings::read(settings).map(|settings| settings.nodes()).unwrap_or_default()
    }

    fn problems(&self, settings: &Map<String, Value>) -> Vec<(String, String)> {
        match Settings::read(settings) {
            Ok(settings) => settings.problems(&self.tools.http.settings().blocked),
            Err(failure) => vec![(String::new(), failure.message)],
        }
    }

    fn quorum(settings: &Map<String, Value>) -> Option<u32> {
        Settings::read(settings).ok()?.quorum
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        look::check(&self.tools, place, secrets).await
    }

    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure> {
        look::preview(&self.tools, look).await
    }

    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure> {
        look::observe(&self.tools, look).await
    }

    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
        look::drift(&self.tools, look, receipt).await
    }

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(&Session::open(&self.tools, work).await?).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        push::push(&Session::open(&self.tools, work).await?).await
    }

    async fn activate(&self, work: &Work<'_>) -> StepResult {
        activate::activate(&Session::open(&self.tools, work).await?).await
    }

    async fn enforce(&self, work: &Work<'_>) -> StepResult {
        enforce::enforce(&Session::open(&self.tools, work).await?).await
    }

    async fn verify(&self, work: &Work<'_>) -> StepResult {
        verify::verify(&Session::open(&self.tools, work).await?).await
    }

    async fn switch_off(&self, work: &Work<'_>) -> StepResult {
        turn_off::switch_off(&Session::open(&self.tools, work).await?).await
    }

    async fn remove(&self, work: &Work<'_>) -> StepResult {
        turn_off::remove(&Session::open(&self.tools, work).await?).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        restore::restore(&self.tools, work).await
    }

    fn inherits(&self, step: &str, note: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Value)> {
        match step {
            "push_bundle" => Vec::new(),
            _ => notes::inherited(note),
        }
    }
}

#[async_trait]
impl Services for StaticNodes {
    fn has_gate(&self) -> bool {
        false
    }

    async fn query(&self, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
        query::query(&self.tools, &self.silent, look, query).await
    }
}
