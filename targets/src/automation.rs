//! Dataiku's Automation node.
//!
//! * `client`, `calls`: the node's API, typed as far as we rely on it; unknown keys are kept.
//! * `report`: the node's own verdicts inside a success.
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
mod report;
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

use self::{client::Api, session::Session};
use crate::{
    http::Http,
    on_node::{OnNode, TestRun, TestingStatus},
    spec::{BundleContents, DeploySpec, NodeSpec},
    target::{Difference, NewPersonalKey, NodeReport, PersonalKey, Preview, Receipt, Target, Work},
};

/// Dataiku's Automation node, as a target.
#[derive(Clone, Debug)]
pub struct AutomationNode {
    http: Http,
}

impl AutomationNode {
    /// With the process's HTTP client.
    pub fn new(http: Http) -> Self {
        Self { http }
    }
}

#[async_trait]
impl Target for AutomationNode {
    async fn check(&self, node: &NodeSpec, key: &Secret) -> Result<NodeReport, Failure> {
        check::check(&Api::new(&self.http, node, key, None)?).await
    }

    async fn preview(&self, spec: &DeploySpec, contents: &BundleContents, key: &Secret) -> Result<Preview, Failure> {
        let api = Api::new(&self.http, &spec.infrastructure.node, key, Some(&spec.acting_user))?;
        preview::preview(&api, spec, contents).await
    }

    async fn observe(&self, node: &NodeSpec, key: &Secret, project_key: &str) -> Result<OnNode, Failure> {
        Ok(observe::observe(&Api::new(&self.http, node, key, None)?, project_key).await?)
    }

    async fn drift(
        &self,
        spec: &DeploySpec,
        contents: &BundleContents,
        receipt: &Receipt,
        key: &Secret,
    ) -> Result<Vec<Difference>, Failure> {
        drift::drift(&Api::new(&self.http, &spec.infrastructure.node, key, None)?, spec, contents, receipt).await
    }

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

    async fn validate(&self, work: &Work<'_>) -> StepResult {
        validate::validate(&Session::open(&self.http, work).await?).await
    }

    async fn push(&self, work: &Work<'_>) -> StepResult {
        push::push(&Session::open(&self.http, work).await?).await
    }

    async fn activate(&self, work: &Work<'_>) -> StepResult {
        activate::activate(&Session::open(&self.http, work).await?).await
    }

    async fn enforce_run_as(&self, work: &Work<'_>) -> StepResult {
        run_as::enforce(&Session::open(&self.http, work).await?).await
    }

    async fn leave_safe(&self, work: &Work<'_>) -> Result<Vec<String>, StepError> {
        switches::leave_safe(&Session::open(&self.http, work).await?).await
    }

    async fn verify(&self, work: &Work<'_>) -> StepResult {
        verify::verify(&Session::open(&self.http, work).await?).await
    }

    async fn switch_off(&self, work: &Work<'_>) -> StepResult {
        turn_off::switch_off(&Session::open(&self.http, work).await?).await
    }

    async fn delete_project(&self, work: &Work<'_>) -> StepResult {
        turn_off::delete_project(&Session::open(&self.http, work).await?).await
    }

    async fn restore(&self, work: &Work<'_>) -> StepResult {
        restore::restore(&self.http, work).await
    }
}
