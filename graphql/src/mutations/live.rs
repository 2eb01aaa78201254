//! What is done with a deployment beside ordinary updates: restoring, disabling, enabling, looking for drift, running tests.

use async_graphql::{Context, ID, Object};
use deployer::{audit, drift, error::Error, testing, updates};

use super::{payload, updates::StartUpdatePayload};
use crate::{
    error::Result,
    session::Asked,
    types::{
        health::{Drift, Testing},
        update::run_id,
    },
};

payload!(
    /// The answer of `checkDrift`.
    CheckDriftPayload {
        /// What was found; null if refused.
        drift: Drift
    }
);
payload!(
    /// The answer of `runTestScenarios`.
    RunTestScenariosPayload {
        /// What the node said; null if refused.
        testing: Testing
    }
);

#[derive(Default)]
pub(super) struct LiveDeployments;

#[Object]
impl LiveDeployments {
    /// Puts back what was live before, by an update of its own (of type RESTORE): what the last successful update before the live one deployed (bundle,
    /// remapping, local variables, switches), or the one that `updateId` names. Where an update failed half-way, that is what was live before it. Run-as
    /// users, hooks and how the node is reached are as they are set now. The deployment itself is set to match, so that the next ordinary update does not
    /// undo it. A key of callers, of a query log or of a secret variable that was taken away since does not come back: then it is refused
    /// (`RESTORE_KEYS_GONE`). Needs the right to deploy on both.
    async fn restore_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(desc = "A successful update of it; what was live before if not given.")] update_id: Option<ID>,
        #[graphql(desc = "As for startUpdate.")] idempotency_key: Option<String>,
    ) -> Result<StartUpdatePayload> {
        let session = ctx.session()?;
        let to = update_id.map(|id| run_id(&id).ok_or_else(|| Error::not_found("updateId"))).transpose();
        let answer = match to {
            Ok(to) => {
                let key = idempotency_key.as_deref();
                updates::restore(&session.deployer, &session.viewer(), &deployment_id, to, key).await
            }
            Err(refused) => {
                let object = audit::Object::new(audit::ObjectKind::Deployment, &deployment_id);
                let (deployer, viewer) = (&session.deployer, session.viewer());
                Err(audit::refuse(deployer, &viewer, "restoreDeployment", object, refused).await)
            }
        };
        StartUpdatePayload::of(answer)
    }

    /// Disables a deployment: an update (of type DISABLE) switches every scenario off and stops every web app on the node, and notes what was on. The project,
    /// its bundle and its data stay. From now on the deployment takes no update but the one that enables it. Of an API service it switches the service off;
    /// further updates keep it off, and refuse a version that is named, until it is enabled. Needs the right to deploy on both.
    async fn disable_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(desc = "As for startUpdate.")] idempotency_key: Option<String>,
    ) -> Result<StartUpdatePayload> {
        let session = ctx.session()?;
        let key = idempotency_key.as_deref();
        StartUpdatePayload::of(updates::disable(&session.deployer, &session.viewer(), &deployment_id, key).await)
    }

    /// Enables a disabled deployment: an update (of type ENABLE) deploys it as it is set, with scenarios and web apps as they were before it was disabled;
    /// an API service answers again. Needs the right to deploy on both.
    async fn enable_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(desc = "As for startUpdate.")] idempotency_key: Option<String>,
    ) -> Result<StartUpdatePayload> {
        let session = ctx.session()?;
        let key = idempotency_key.as_deref();
        StartUpdatePayload::of(updates::enable(&session.deployer, &session.viewer(), &deployment_id, key).await)
    }

    /// Compares a deployment's node with its last successful update, now. Changes nothing on the node. Refused while an update has not ended. Needs the right
    /// to see the deployment.
    async fn check_drift(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
    ) -> Result<CheckDriftPayload> {
        let session = ctx.session()?;
        CheckDriftPayload::of(drift::check(&session.deployer, &session.viewer(), &deployment_id).await)
    }

    /// Runs the test scenarios of the deployed project on the node, and waits until they have ended, at most ten minutes. Needs the right to deploy on both.
    async fn run_test_scenarios(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(desc = "Where there are several nodes: which; the first one if not given.")] node: Option<String>,
    ) -> Result<RunTestScenariosPayload> {
        let session = ctx.session()?;
        let node = node.as_deref();
        RunTestScenariosPayload::of(testing::run(&session.deployer, &session.viewer(), &deployment_id, node).await)
    }
}
