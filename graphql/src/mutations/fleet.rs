//! Nodes that register themselves: what an administrator does about them.

use async_graphql::{Context, ID, Object, SimpleObject};
use deployer::{enrolment, infrastructures};

use super::payload;
use crate::{
    error::{Refusal, Result, settle},
    scalars::Long,
    session::Asked,
    types::{enrolment::EnrolmentToken, infrastructure::Infrastructure},
};

/// The answer of `createEnrolmentToken`.
#[derive(SimpleObject)]
pub(crate) struct CreateEnrolmentTokenPayload {
    /// The new token; null if refused.
    enrolment_token: Option<EnrolmentToken>,
    /// The token itself, shown this once; null if refused.
    secret: Option<String>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `revokeEnrolmentToken`.
#[derive(SimpleObject)]
pub(crate) struct RevokeEnrolmentTokenPayload {
    /// The id of the token that is gone; null if refused.
    revoked_id: Option<ID>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

payload!(
    /// The answer of `releaseNode`.
    ReleaseNodePayload {
        /// The changed infrastructure; null if refused.
        infrastructure: Infrastructure
    }
);

#[derive(Default)]
pub(super) struct Fleet;

#[Object]
impl Fleet {
    /// Makes a one-time token with which a node registers itself: `slipway node enroll`, or `POST /fleet/nodes`. The infrastructure's administrators
    /// alone.
    async fn create_enrolment_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure's id.")] infrastructure_id: ID,
        #[graphql(
            desc = "The node that it is for, of a multi-node infrastructure; it need not be there yet. Without, the node is called as it calls itself."
        )]
        node_name: Option<String>,
        #[graphql(desc = "How long it can be used, 1 to 10080 minutes.", default = 60)] expires_in_minutes: i32,
    ) -> Result<CreateEnrolmentTokenPayload> {
        let session = ctx.session()?;
        let (deployer, viewer) = (&session.deployer, session.viewer());
        let answer = enrolment::create_token(
            deployer,
            &viewer,
            &infrastructure_id,
            node_name.as_deref(),
            expires_in_minutes.into(),
        );
        let (made, refusals) = settle::<_, (enrolment::EnrolmentToken, _)>(answer.await)?;
        let (enrolment_token, secret) = made.map(|(token, secret)| (token.into(), secret.expose().to_owned())).unzip();
        Ok(CreateEnrolmentTokenPayload { enrolment_token, secret, refusals })
    }

    /// Revokes a one-time token that was not used yet. The infrastructure's administrators alone.
    async fn revoke_enrolment_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure's id.")] infrastructure_id: ID,
        #[graphql(desc = "The token's id.")] id: ID,
    ) -> Result<RevokeEnrolmentTokenPayload> {
        let session = ctx.session()?;
        let answer = enrolment::revoke_token(&session.deployer, &session.viewer(), &infrastructure_id, &id).await;
        let (revoked_id, refusals) = settle(answer.map(|()| id))?;
        Ok(RevokeEnrolmentTokenPayload { revoked_id, refusals })
    }

    /// Makes a node that a fleet manages one that is managed by hand, as it is. Its credential dies. The infrastructure's administrators alone.
    async fn release_node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The infrastructure's id.")] infrastructure_id: ID,
        #[graphql(desc = "Which node of a multi-node infrastructure.")] node_name: Option<String>,
        #[graphql(desc = "The infrastructure's version that you saw.")] expected_version: Long,
    ) -> Result<ReleaseNodePayload> {
        let session = ctx.session()?;
        let (deployer, viewer, version) = (&session.deployer, session.viewer(), expected_version.0);
        let answer =
            enrolment::release_node(deployer, &viewer, &infrastructure_id, node_name.as_deref(), version).await;
        ReleaseNodePayload::of::<infrastructures::Infrastructure>(answer)
    }
}
