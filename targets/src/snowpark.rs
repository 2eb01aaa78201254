//! Snowpark Container Services: an API service as one of Snowflake's services, called through a SQL function.
//!
//! * `settings`: what is entered. `place`, `goal`: the same with every name read, and what there should be. `yaml`, `function`, `mark`: how it is written.
//! * `site`: what is read in the account. `session`: what is changed there, once. `notes`: what a run remembers.
//! * `needs`: least privileges. `report`: problems as one failure.
//! * One file a step: `validate`, `image` (push), `activate` (with `follow`), `enforce`, `verify`, `restore`, `turn_off`.
//! * `looks`: health, drift, preview. `query`.

mod activate;
mod enforce;
mod follow;
mod function;
mod goal;
mod image;
mod looks;
mod mark;
mod needs;
mod notes;
mod place;
mod query;
mod report;
mod restore;
mod session;
mod settings;
mod site;
mod turn_off;
mod validate;
mod verify;
mod yaml;

use async_trait::async_trait;
use engine::failure::{Failure, StepResult};
use serde_json::{Map, Value};

use self::{
    place::{Place, Problems},
    session::Session,
    site::Site,
};
use crate::{
    on_node::OnNode,
    snowflake::{
        client::{Api, KIND, settings_of},
        statements::Context,
        vault::{Vault, failure},
    },
    spec::{DeploySpec, InfrastructureSpec},
    target::{
        Calling, Description, Difference, Framing, Half, Look, NodeReport, Preview, Receipt, Secrets, ServiceAnswer,
        ServiceQuery, Services, Target, Work,
    },
    tools::Tools,
};

/// Snowpark Container Services, as a target.
#[derive(Clone, Debug)]
pub struct Snowpark {
    tools: Tools,
}

impl Snowpark {
    /// With the process's HTTP client, and what its operator gives.
    pub fn new(tools: &Tools) -> Self {
        Self { tools: tools.clone() }
    }

    async fn site(&self, look: Look<'_>) -> Result<Site, Failure> {
        Site::open(&self.tools.http, look.spec, Vault::Look(look.secrets)).await.map_err(failure)
    }
}

#[async_trait]
impl Target for Snowpark {
    fn describe(&self) -> Description {
        Description {
            label: "Snowflake Snowpark Container Services",
            half: Half::Api,
            settings: settings::SETTINGS,
            deployment: settings::DEPLOYMENT,
            connection: Some(KIND),
            one_endpoint: true,
        }
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }

    fn problems(&self, settings: &Map<String, Value>) -> Vec<(String, String)> {
        place::wrong(settings)
    }

    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        let mut problems = Problems::default();
        let read = Place::read(&place.settings, place.connection.as_ref(), &mut problems);
        let patience = self.tools.http.settings().call_timeout;
        let connection = settings_of(place.connection.as_ref())?;
        let api = Api::open(&self.tools.http, &connection, Vault::Look(secrets), patience).await.map_err(failure)?;
        let who = match &read {
            Some(read) => needs::look(&api, read, &mut problems).await?,
            // What can't be read yet can't be looked for; that the credentials work can.
            None => api.whoami(&Context::default()).await?,
        };
        let is_admin = matches!(who.role.as_str(), "ACCOUNTADMIN" | "SECURITYADMIN" | "SYSADMIN");
        let identity = if who.role.is_empty() { who.user } else { format!("{} as {}", who.user, who.role) };
        Ok(NodeReport {
            node_id: Some(who.account).filter(|name| !name.is_empty()),
            node_type: Some(KIND.to_owned()),
            version: Some(who.version).filter(|version| !version.is_empty()),
            identity,
            is_admin,
            problems: problems.0.into_iter().map(|problem| problem.message).collect(),
        })
    }

    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure> {
        looks::preview(&self.site(look).await?, look.spec).await.map_err(failure)
    }

    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure> {
        looks::observe(&self.site(look).await?).await.map_err(failure)
    }

    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
        looks::drift(&self.site(look).await?, look.spec, receipt).await.map_err(failure)
    }

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(&Session::open(&self.tools.http, work).await?).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        image::push(&Session::open(&self.tools.http, work).await?, &self.tools).await
    }

    async fn activate(&self, work: &Work<'_>) -> StepResult {
        activate::activate(&Session::open(&self.tools.http, work).await?).await
    }

    async fn enforce(&self, work: &Work<'_>) -> StepResult {
        enforce::enforce(&Session::open(&self.tools.http, work).await?).await
    }

    async fn verify(&self, work: &Work<'_>) -> StepResult {
        verify::verify(&Session::open(&self.tools.http, work).await?).await
    }

    async fn switch_off(&self, work: &Work<'_>) -> StepResult {
        turn_off::switch_off(&Session::open(&self.tools.http, work).await?).await
    }

    async fn remove(&self, work: &Work<'_>) -> StepResult {
        turn_off::remove(&Session::open(&self.tools.http, work).await?).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        restore::restore(&Session::open(&self.tools.http, work).await?).await
    }

    fn inherits(&self, _step: &str, note: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Value)> {
        session::open_statement(note).map(|open| (notes::STATEMENT, open)).into_iter().collect()
    }

    fn is_in_flight(&self, note: &dyn Fn(&str) -> Option<Value>) -> bool {
        session::open_statement(note).is_some()
    }
}

#[async_trait]
impl Services for Snowpark {
    fn problems(&self, infrastructure: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
        goal::wrong(infrastructure, own)
    }

    fn calling(&self, _: &DeploySpec) -> Result<Calling, Failure> {
        Ok(Calling::Platform { path: "/predict".to_owned(), framing: Framing::Rows })
    }

    async fn query(&self, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
        query::query(&self.site(look).await?, query).await.map_err(failure)
    }
}
