//! Dataiku's Automation node.
//!
//! * `client`, `calls`: the node's API, typed as far as we rely on it; unknown keys are kept.
//! * [`notes`]: what a run remembers; `flight`: calls whose answer may be lost.
//! * `goal`: what the node should show at the end of an update, or of a restore.
//! * One file per step: `validate`, `push` (with `import`, `folders`, `settings`, `container`, `permissions`), `activate`, `run_as` (with `webapps`, `switches`), `verify`.
//! * `restore`, `preview`, `check`, `personal_key`; `observe`, `drift`: how a deployed project is, by reading alone.
//! * `turn_off`: switching a project off, and deleting it; `tests_of_project`: its test scenarios.

mod activate;
mod calls;
mod check;
mod client;
mod container;
mod drift;
mod flight;
mod folders;
mod goal;
mod import;
pub mod notes;
mod observe;
mod permissions;
mod personal_key;
mod preview;
mod push;
mod restore;
mod run_as;
mod session;
mod settings;
mod switches;
mod tests_of_project;
mod turn_off;
mod validate;
mod verify;
mod webapps;

use std::time::Duration;

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError, StepResult},
    secrets::Secret,
};
use serde_json::Value;

use self::{client::Api, session::Session};
use crate::{
    http::Http,
    on_node::{OnNode, TestRun, TestingStatus},
    spec::{InfrastructureSpec, NodeSpec},
    target::{
        Description, Difference, Half, Look, NO_SETTINGS, NewPersonalKey, NodeReport, PersonalKey, Preview, Projects,
        Receipt, Secrets, Target, Work,
    },
    tools::Tools,
};

/// Dataiku's Automation node, as a target.
#[derive(Clone, Debug)]
pub struct AutomationNode {
    http: Http,
}

impl AutomationNode {
    /// With the process's HTTP client.
    pub fn new(tools: &Tools) -> Self {
        Self { http: tools.http.clone() }
    }

    /// The API of the place that a look is at, in the acting user's name where one is needed.
    async fn api(&self, place: &InfrastructureSpec, secrets: &dyn Secrets, user: Option<&str>) -> Result<Api, Failure> {
        let key = secrets.open(&place.node.key).await?;
        Api::new(&self.http, &place.node, &key, user)
    }
}

#[async_trait]
impl Target for AutomationNode {
    fn describe(&self) -> Description {
        Description {
            label: "Automation node",
            half: Half::Project,
            settings: NO_SETTINGS,
            deployment: NO_SETTINGS,
            connection: None,
            one_endpoint: false,
        }
    }

    fn projects(&self) -> Option<&dyn Projects> {
        Some(self)
    }

    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure> {
        check::check(&self.api(place, secrets, None).await?).await
    }

    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure> {
        let spec = look.spec;
        let api = self.api(&spec.infrastructure, look.secrets, Some(&spec.acting_user)).await?;
        preview::preview(&api, spec, look.contents).await
    }

    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure> {
        let api = self.api(&look.spec.infrastructure, look.secrets, None).await?;
        Ok(observe::observe(&api, &look.spec.deployed_project_key).await?)
    }

    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure> {
        let api = self.api(&look.spec.infrastructure, look.secrets, None).await?;
        drift::drift(&api, look.spec, look.contents, receipt).await
    }

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(&Session::open(&self.http, work).await?).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        push::push(&Session::open(&self.http, work).await?).await
    }

    async fn activate(&self, work: &Work<'_>) -> StepResult {
        activate::activate(&Session::open(&self.http, work).await?).await
    }

    async fn enforce(&self, work: &Work<'_>) -> StepResult {
        run_as::enforce(&Session::open(&self.http, work).await?).await
    }

    async fn leave_safe(&self, work: &Work<'_>) -> Result<Vec<String>, StepError> {
        switches::leave_safe(&Session::open(&self.http, work).await?, false).await
    }

    async fn verify(&self, work: &Work<'_>) -> StepResult {
        verify::verify(&Session::open(&self.http, work).await?).await
    }

    async fn switch_off(&self, work: &Work<'_>) -> StepResult {
        turn_off::switch_off(&Session::open(&self.http, work).await?).await
    }

    async fn remove(&self, work: &Work<'_>) -> StepResult {
        turn_off::delete_project(&Session::open(&self.http, work).await?).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        restore::restore(&self.http, work).await
    }

    fn inherits(&self, step: &str, note: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Value)> {
        match step {
            // Who makes a project gives it its permissions; one that ended before it did leaves that to the next.
            "push_bundle" => notes::unfinished_creation(note).map(|made| (notes::CREATED, made)).into_iter().collect(),
            _ => notes::inherited(note),
        }
    }

    fn is_in_flight(&self, note: &dyn Fn(&str) -> Option<Value>) -> bool {
        notes::inherited(note).iter().any(|(key, _)| *key == notes::ACTIVATE)
            || note(notes::DELETE).is_some_and(|asked| !asked.is_null())
    }

    fn needs_leaving_safe(&self, note: &dyn Fn(&str) -> Option<Value>) -> bool {
        note(notes::STATES).is_some()
    }
}

#[async_trait]
impl Projects for AutomationNode {
    async fn testing_status(
        &self,
        node: &NodeSpec,
        key: &Secret,
        project_key: &str,
        bundle: Option<&str>,
    ) -> Result<TestingStatus, Failure> {
        Ok(tests_of_project::status(&Api::new(&self.http, node, key, None)?, project_key, bundle).await?)
    }

    async fn run_test_scenarios(
        &self,
        node: &NodeSpec,
        key: &Secret,
        acting_user: &str,
        project_key: &str,
        within: Duration,
    ) -> Result<TestRun, Failure> {
        tests_of_project::run(&Api::new(&self.http, node, key, Some(acting_user))?, project_key, within).await
    }

    async fn create_personal_key(
        &self,
        node: &NodeSpec,
        key: &Secret,
        new: NewPersonalKey<'_>,
    ) -> Result<PersonalKey, Failure> {
        personal_key::create(&Api::new(&self.http, node, key, None)?, new).await
    }
}
