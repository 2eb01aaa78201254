//! Amazon SageMaker: real-time endpoints. Each version of a service is an image, a model and a production variant; a configuration names them, an endpoint serves it.
//!
//! * `settings`: what infrastructures and deployments say. `names`: what our things are called, and how we find them again.
//! * `api`: SageMaker's API. `session`: one attempt at a step, or one look. `notes`: what a run remembers.
//! * `goal`: what should be there. `reading`: what is.
//! * One file per step: `validate`, `push` (with `image`), `activate` (with `moving`; and enforce), `verify` (with drift and restore), `off`.
//! * `preview`, `check`, `query`.

mod activate;
mod api;
mod check;
mod goal;
mod image;
mod moving;
mod names;
mod notes;
mod off;
mod preview;
mod push;
mod query;
mod reading;
mod session;
mod settings;
mod validate;
mod verify;

use async_trait::async_trait;
use engine::failure::{Failure, StepResult};
use serde_json::{Map, Value};

use self::session::{Place, Session};
use crate::{
    aws::{self, Aws},
    managed::opener::told,
    on_node::OnNode,
    spec::{DeploySpec, InfrastructureSpec},
    target::{
        Calling, Description, Difference, Framing, Half, Look, NodeReport, Preview, Receipt, Secrets, ServiceAnswer,
        ServiceQuery, Services, Target, Work,
    },
    tools::Tools,
};

/// Amazon SageMaker, as a target.
#[derive(Clone)]
pub struct SageMaker {
    aws: Aws,
}

impl SageMaker {
    /// With what the process gives its targets.
    pub fn new(tools: &Tools) -> Self {
        Self { aws: Aws::new(tools) }
    }
}

#[async_trait]
impl Target for SageMaker {
    fn describe(&self) -> Description {
        Description {
            label: "Amazon SageMaker",
            half: Half::Api,
            settings: settings::SETTINGS,
            deployment: settings::DEPLOYMENT,
            connection: Some(aws::KIND),
            one_endpoint: true,
        }
    }

    fn problems(&self, settings: &Map<String, Value>) -> Vec<(String, String)> {
        match settings::read::<settings::Settings>(settings, "infrastructure") {
            Ok(settings) => settings.problems(),
            Err(failure) => vec![(String::new(), failure.message)],
        }
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        check::check(&self.aws, place, secrets).await
    }

    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure> {
        preview::preview(&Place::look(&self.aws, look).await?).await.map_err(told)
    }

    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure> {
        let place = Place::look(&self.aws, look).await?;
        Ok(reading::read(&place).await?.on_node(&place))
    }

    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
        Ok(verify::drift(&Place::look(&self.aws, look).await?, receipt).await?)
    }

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(&Session::open(&self.aws, work).await?).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        push::push(&Session::open(&self.aws, work).await?).await
    }

    async fn activate(&self, work: &Work<'_>) -> StepResult {
        activate::activate(&Session::open(&self.aws, work).await?).await
    }

    async fn enforce(&self, work: &Work<'_>) -> StepResult {
        activate::enforce(&Session::open(&self.aws, work).await?).await
    }

    async fn verify(&self, work: &Work<'_>) -> StepResult {
        verify::verify(&Session::open(&self.aws, work).await?).await
    }

    async fn switch_off(&self, work: &Work<'_>) -> StepResult {
        off::switch_off(&Session::open(&self.aws, work).await?).await
    }

    async fn remove(&self, work: &Work<'_>) -> StepResult {
        off::remove(&Session::open(&self.aws, work).await?).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        verify::restore(&Session::open(&self.aws, work).await?).await
    }

    fn is_in_flight(&self, note: &dyn Fn(&str) -> Option<Value>) -> bool {
        notes::is_in_flight(note)
    }
}

#[async_trait]
impl Services for SageMaker {
    fn problems(&self, _: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
        match settings::read::<settings::Overrides>(own, "deployment") {
            Ok(own) => own.problems(),
            Err(failure) => vec![(String::new(), failure.message)],
        }
    }

    fn calling(&self, spec: &DeploySpec) -> Result<Calling, Failure> {
        let service = spec
            .service
            .as_deref()
            .ok_or_else(|| notes::internal("a spec for SageMaker without a service".to_owned()))?;
        let names = names::Names::of(spec, service, &settings::read(&service.settings, "deployment")?);
        let path = format!("/endpoints/{}/invocations", names.endpoint);
        Ok(Calling::Platform { path, framing: Framing::Plain })
    }

    async fn query(&self, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
        query::query(&Place::look(&self.aws, look).await?, query).await
    }
}
