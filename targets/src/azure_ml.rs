//! Azure Machine Learning: managed online endpoints.
//!
//! One deployment is one endpoint with one of the platform's own deployments a version, each named by its content; the endpoint's traffic says which of them answer.
//!
//! * `settings`: what an infrastructure and a deployment may set. `names`: what things are called there. `bodies`: what is sent.
//! * `session`: one look or attempt, and the resources. `change`: a resource brought to a state, noted and followed.
//! * One file a step: `validate`, `push`, `activate`, `verify`, `off` (switching off, removing), `restore`.
//! * `observe`: how it is, by reading alone, with drift and preview. `check`, `query`.

mod activate;
mod bodies;
mod change;
mod check;
mod names;
mod observe;
mod off;
mod push;
mod query;
mod restore;
mod session;
pub mod settings;
mod validate;
mod verify;

use async_trait::async_trait;
use engine::failure::{Failure, StepResult};
use serde_json::{Map, Value};

use self::session::Session;
use crate::{
    azure::connection::{Azure, KIND},
    managed::{
        Flow,
        opener::{Opener, told},
        patience, ready,
    },
    on_node::OnNode,
    spec::{DeploySpec, InfrastructureSpec},
    target::{
        Calling, Description, Difference, Framing, Half, Look, NodeReport, Preview, Receipt, Secrets, ServiceAnswer,
        ServiceQuery, Services, Target, Work,
    },
    tools::Tools,
};

/// The version of the management API that is spoken: that of the platform's own client 2.0.0b2.
pub const API_VERSION: &str = "2023-04-01";
/// Azure's front asks the container here.
pub const PORT: u16 = 5001;

/// Azure ML, as a target.
#[derive(Clone, Debug)]
pub struct AzureMl {
    azure: Azure,
}

impl AzureMl {
    /// With the process's tools.
    pub fn new(tools: &Tools) -> Self {
        Self { azure: Azure::new(tools) }
    }

    async fn look<'a>(&self, look: Look<'a>) -> Result<Session<'a>, Failure> {
        Session::open(&self.azure, look.spec, Opener::Look(look.secrets)).await.map_err(told)
    }

    async fn step<'a>(&self, work: &'a Work<'a>) -> Result<Flow<Session<'a>>, engine::failure::StepError> {
        let session = Session::open(&self.azure, work.spec, Opener::Run(work.run)).await;
        patience::opened(work.run, patience::follows(work.run), session).await
    }
}

#[async_trait]
impl Target for AzureMl {
    fn describe(&self) -> Description {
        Description {
            label: "Azure Machine Learning",
            half: Half::Api,
            settings: include_str!("azure_ml/settings.json"),
            deployment: include_str!("azure_ml/deployment.json"),
            connection: Some(KIND),
            one_endpoint: true,
        }
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    fn problems(&self, settings: &Map<String, Value>) -> Vec<(String, String)> {
        settings::taken(settings)
    }

    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        check::check(&self.azure, place, secrets).await
    }

    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure> {
        observe::preview(&self.azure, look).await
    }

    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure> {
        observe::observe(&self.look(look).await?).await
    }

    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
        observe::drift(&self.look(look).await?, receipt).await
    }

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(&self.azure, work).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, push::push(&self.azure, &s, work).await).await
    }

    async fn activate(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, activate::activate(&s, work.run).await).await
    }

    async fn enforce(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, activate::enforce(&s, work.run).await).await
    }

    async fn verify(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, verify::verify(&s, work.run).await).await
    }

    async fn switch_off(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, off::switch_off(&s, work.run).await).await
    }

    async fn remove(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, off::remove(&self.azure, &s, work.run).await).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, restore::restore(&s, work.run).await).await
    }
}

#[async_trait]
impl Services for AzureMl {
    fn problems(&self, _: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
        let unreadable = settings::unreadable(own).map(|failure| (String::new(), failure.message));
        unreadable.into_iter().chain(settings::taken(own)).collect()
    }

    fn calling(&self, _: &DeploySpec) -> Result<Calling, Failure> {
        Ok(Calling::Platform { path: "/score".to_owned(), framing: Framing::Plain })
    }

    async fn query(&self, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
        query::query(&self.azure, &self.look(look).await?, query).await
    }
}
