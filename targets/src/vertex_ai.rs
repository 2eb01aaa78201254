//! Google's Vertex AI: endpoints with deployed models.
//!
//! One deployment is one endpoint, with a model of the registry and a deployed model for each version. Every id is ours and follows from the content, so that a call that
//! is made twice can't take effect twice; the endpoint's traffic split says which of them answer.
//!
//! * `settings`: what an infrastructure and a deployment may set. `bodies`: names, and what is sent.
//! * `session`: one look or attempt, and the resources. `change`: a call noted, made once, followed.
//! * One file a step: `validate`, `push`, `activate`, `verify`, `off` (switching off, removing), `restore`.
//! * `observe`: how it is, by reading alone, with drift and preview. `check`, `query`.

mod activate;
mod bodies;
mod change;
mod check;
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
use engine::failure::{Failure, StepError, StepResult};
use serde_json::{Map, Value};

use self::session::Session;
use crate::{
    gcp::connection::{Gcp, KIND},
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

/// Vertex AI asks the container here.
pub const PORT: u16 = 8080;

/// Vertex AI, as a target.
#[derive(Clone, Debug)]
pub struct VertexAi {
    gcp: Gcp,
}

impl VertexAi {
    /// With the process's tools.
    pub fn new(tools: &Tools) -> Self {
        Self { gcp: Gcp::new(tools) }
    }

    async fn look<'a>(&self, look: Look<'a>) -> Result<Session<'a>, Failure> {
        Session::open(&self.gcp, look.spec, Opener::Look(look.secrets)).await.map_err(told)
    }

    async fn step<'a>(&self, work: &'a Work<'a>) -> Result<Flow<Session<'a>>, StepError> {
        let session = Session::open(&self.gcp, work.spec, Opener::Run(work.run)).await;
        patience::opened(work.run, patience::follows(work.run), session).await
    }
}

#[async_trait]
impl Target for VertexAi {
    fn describe(&self) -> Description {
        Description {
            label: "Google Vertex AI",
            half: Half::Api,
            settings: include_str!("vertex_ai/settings.json"),
            deployment: include_str!("vertex_ai/deployment.json"),
            connection: Some(KIND),
            one_endpoint: true,
        }
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    fn problems(&self, settings: &Map<String, Value>) -> Vec<(String, String)> {
        settings::contradicted(settings)
    }

    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        check::check(&self.gcp, place, secrets).await
    }

    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure> {
        observe::preview(&self.gcp, look).await
    }

    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure> {
        observe::observe(&self.look(look).await?).await
    }

    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
        observe::drift(&self.look(look).await?, receipt).await
    }

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(&self.gcp, work).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, push::push(&self.gcp, &s, work).await).await
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
        patience::attempted(work.run, &s.changing, off::remove(&self.gcp, &s, work.run).await).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        let s = ready!(self.step(work).await?);
        patience::attempted(work.run, &s.changing, restore::restore(&s, work.run).await).await
    }
}

#[async_trait]
impl Services for VertexAi {
    fn problems(&self, infrastructure: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
        settings::wrong(infrastructure, own)
    }

    fn calling(&self, spec: &DeploySpec) -> Result<Calling, Failure> {
        let settings = settings::Settings::read(spec)?;
        let path = bodies::predict_path(&settings, &bodies::endpoint_id(spec));
        Ok(Calling::Platform { path, framing: Framing::Instances })
    }

    async fn query(&self, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
        query::query(&self.look(look).await?, query).await
    }
}
