//! One attempt at one step: the node, the run, and the spec at hand.

use std::time::Duration;

use engine::{
    failure::StepError,
    step::{Audience, StepContext},
};

use super::{
    calls::Project,
    client::Api,
    flight::{EffectCall, Flown, perform},
};
use crate::{
    http::{CallError, Http},
    spec::{DeploySpec, InfrastructureSpec},
    target::{ImportLedger, Work},
};

/// What a step works with.
pub(super) struct Session<'a> {
    pub(super) api: Api,
    pub(super) work: &'a Work<'a>,
}

impl<'a> Session<'a> {
    /// Takes the node's key out of the store. Talks to nobody.
    pub(super) async fn open(http: &Http, work: &'a Work<'a>) -> Result<Self, StepError> {
        let node = &work.spec.infrastructure.node;
        let key = work.run.secret(&node.key).await?;
        let api = Api::new(http, node, &key, Some(&work.spec.acting_user))?;
        Ok(Self { api, work })
    }

    pub(super) fn spec(&self) -> &'a DeploySpec {
        self.work.spec
    }

    pub(super) fn infrastructure(&self) -> &'a InfrastructureSpec {
        &self.work.spec.infrastructure
    }

    /// The project's key on the node.
    pub(super) fn key(&self) -> &'a str {
        &self.work.spec.deployed_project_key
    }

    pub(super) fn bundle(&self) -> &'a str {
        &self.work.spec.package.bundle_id
    }

    pub(super) fn run(&self) -> &'a dyn StepContext {
        self.work.run
    }

    pub(super) fn imports(&self) -> &'a dyn ImportLedger {
        self.work.imports
    }

    pub(super) fn settle(&self) -> Duration {
        Duration::from_millis(self.infrastructure().node.settle_ms)
    }

    /// A line for whoever may see the update.
    pub(super) async fn log(&self, line: String) {
        self.run().log(Audience::Everyone, line).await;
    }

    pub(super) async fn perform(&self, call: &dyn EffectCall) -> Result<Flown, StepError> {
        perform(self.run(), self.settle(), call).await
    }

    /// The project, which must be there.
    pub(super) async fn project(&self) -> Result<Project, CallError> {
        self.api.existing_project(self.key()).await
    }
}
