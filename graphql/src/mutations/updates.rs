//! Updates.

use async_graphql::{Context, ID, Object, SimpleObject};
use deployer::{
    audit,
    error::Error,
    updates::{self, Accepted},
};
use engine::ids::RunId;

use super::payload;
use crate::{
    error::{Refusal, Result, settle},
    session::{Asked, Session},
    types::update::{Update, run_id},
};

/// The answer of whatever asks for an update: `startUpdate`, `retryUpdate`, `restoreDeployment`, `disableDeployment`, `enableDeployment`.
#[derive(SimpleObject)]
pub(crate) struct StartUpdatePayload {
    /// The update; null if refused. Once you have it, it ends, or is STUCK and says what somebody must decide.
    update: Option<Update>,
    /// An earlier request with the same idempotency key made it.
    repeated: bool,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

payload!(
    /// The answer of `cancelUpdate` and `abandonUpdate`.
    UpdatePayload {
        /// The update as it is now; null if refused.
        update: Update
    }
);

impl StartUpdatePayload {
    pub(super) fn of(answer: deployer::error::Result<Accepted>) -> Result<Self> {
        let (accepted, refusals) = settle::<_, Accepted>(answer)?;
        let repeated = accepted.as_ref().is_some_and(|accepted| accepted.repeated);
        Ok(Self { update: accepted.map(|accepted| accepted.update.into()), repeated, refusals })
    }
}

/// The run, or the one answer for what is not there.
fn named(id: &ID) -> deployer::error::Result<RunId> {
    run_id(id).ok_or_else(|| Error::not_found("id"))
}

/// What can be no id of an update was asked for all the same.
async fn unnamed(session: &Session, action: &'static str, id: &ID, refused: Error) -> Error {
    let object = audit::Object::new(audit::ObjectKind::Update, id);
    audit::refuse(&session.deployer, &session.viewer(), action, object, refused).await
}

#[derive(Default)]
pub(super) struct Updates;

#[Object]
impl Updates {
    /// Starts an update: makes the deployment so on its node. It is accepted at once and runs on a worker; follow it with `updateEvents`. Needs the right
    /// to deploy on both.
    async fn start_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(
            desc = "Any text of up to 200 characters. Within 7 days, a request of yours for this deployment with the same key answers the first one's update instead of starting \
                          another one: a client that lost the answer asks again without harm."
        )]
        idempotency_key: Option<String>,
        #[graphql(
            desc = "Sets the deployment to this bundle, as `updateDeploymentSettings` does, together with the request: a repeated one changes nothing. What is set already if not \
                          given. Where the infrastructure's policies warn of it, set it with `updateDeploymentSettings` and `ignoreWarnings` first."
        )]
        bundle_id: Option<ID>,
    ) -> Result<StartUpdatePayload> {
        let session = ctx.session()?;
        let (deployer, viewer, key) = (&session.deployer, &session.viewer(), idempotency_key.as_deref());
        let answer = match bundle_id {
            Some(bundle) => updates::deploy(deployer, viewer, &deployment_id, &bundle, key).await,
            None => updates::start(deployer, viewer, &deployment_id, key).await,
        };
        StartUpdatePayload::of(answer)
    }

    /// Asks an update to stop: a running hook is ended, a running upload broken off. What its steps did so far stands, unless its deployment restores.
    /// Needs the right to deploy on both.
    async fn cancel_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The update's id.")] id: ID,
    ) -> Result<UpdatePayload> {
        let session = ctx.session()?;
        let answer = match named(&id) {
            Ok(run) => updates::cancel(&session.deployer, &session.viewer(), run).await,
            Err(refused) => Err(unnamed(session, "cancelUpdate", &id, refused).await),
        };
        UpdatePayload::of(answer)
    }

    /// Retries an update that did not succeed: a new one of the same content. Hooks that ran before the deployment are not run again; every other step looks,
    /// and acts where the node differs. A STUCK update ends by that. Needs the right to deploy on both.
    async fn retry_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The update's id.")] id: ID,
        #[graphql(desc = "As for startUpdate.")] idempotency_key: Option<String>,
    ) -> Result<StartUpdatePayload> {
        let session = ctx.session()?;
        let answer = match named(&id) {
            Ok(run) => updates::retry(&session.deployer, &session.viewer(), run, idempotency_key.as_deref()).await,
            Err(refused) => Err(unnamed(session, "retryUpdate", &id, refused).await),
        };
        StartUpdatePayload::of(answer)
    }

    /// Gives up a STUCK update: it ends as FAILED, and its deployment is free again. Look at the node first. Needs the right to deploy on both.
    async fn abandon_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The update's id.")] id: ID,
    ) -> Result<UpdatePayload> {
        let session = ctx.session()?;
        let answer = match named(&id) {
            Ok(run) => updates::abandon(&session.deployer, &session.viewer(), run).await,
            Err(refused) => Err(unnamed(session, "abandonUpdate", &id, refused).await),
        };
        UpdatePayload::of(answer)
    }
}
