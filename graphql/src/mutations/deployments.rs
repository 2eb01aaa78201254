//! Deployments.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use deployer::deployments::{self, Deletion};

use super::payload;
use crate::{
    error::{Refusal, Result, settle},
    scalars::Long,
    session::Asked,
    types::{
        deployment::{Deployment, DeploymentSettingsInput},
        enums::OnNode,
        update::Update,
    },
};

payload!(
    /// The answer of `createDeployment`.
    CreateDeploymentPayload {
        /// The new deployment; null if refused.
        deployment: Deployment
    }
);
payload!(
    /// The answer of `updateDeploymentSettings`.
    UpdateDeploymentSettingsPayload {
        /// The changed deployment; null if refused.
        deployment: Deployment
    }
);

/// The answer of `deleteDeployment`.
#[derive(SimpleObject)]
pub(crate) struct DeleteDeploymentPayload {
    /// The id that is gone; null if refused, or if an update does something on the node first.
    deleted_id: Option<ID>,
    /// The update that does on the node what was asked for; the deployment goes some seconds after it has succeeded, with its history, and stays if it fails.
    update: Option<Update>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// A deployment to be made.
#[derive(InputObject)]
pub(crate) struct CreateDeploymentInput {
    /// Unique, for good: 1 to 100 characters, none of / ? # %.
    id: ID,
    /// The published project.
    project_key: String,
    /// Where to.
    infrastructure_id: ID,
    /// The bundle.
    bundle_id: ID,
    /// The project key on the node; the published project's if not given. Unique on the infrastructure.
    deployed_project_key: Option<String>,
    /// What is to differ from the defaults. Without remappings it gets a copy of the infrastructure's.
    settings: Option<DeploymentSettingsInput>,
}

/// A change of a deployment. What is not given is left as it is.
#[derive(InputObject)]
pub(crate) struct UpdateDeploymentSettingsInput {
    /// Which.
    id: ID,
    /// The version that you saw: somebody else's change meanwhile is not overwritten, but refused with `VERSION_CONFLICT`.
    expected_version: Long,
    /// Another bundle.
    bundle_id: Option<ID>,
    /// Another project key on the node: only before the first update.
    deployed_project_key: Option<String>,
    /// Changes of the settings.
    settings: Option<DeploymentSettingsInput>,
}

#[derive(Default)]
pub(super) struct Deployments;

#[Object]
impl Deployments {
    /// Makes a deployment. Nothing is deployed by that: start an update. Needs the right to deploy on the infrastructure and on the project.
    async fn create_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment.")] input: CreateDeploymentInput,
    ) -> Result<CreateDeploymentPayload> {
        let session = ctx.session()?;
        let new = deployments::NewDeployment {
            id: input.id.0,
            project_key: input.project_key,
            infrastructure_id: input.infrastructure_id.0,
            bundle_id: input.bundle_id.0,
            deployed_project_key: input.deployed_project_key,
            settings: input.settings.unwrap_or_default().into(),
        };
        CreateDeploymentPayload::of(deployments::create(&session.deployer, &session.viewer(), new).await)
    }

    /// Changes what is deployed, and how: the next update makes it so. Needs the right to deploy on both.
    async fn update_deployment_settings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdateDeploymentSettingsInput,
    ) -> Result<UpdateDeploymentSettingsPayload> {
        let session = ctx.session()?;
        let change = deployments::Change {
            expected_version: input.expected_version.0,
            bundle_id: input.bundle_id.map(|id| id.0),
            deployed_project_key: input.deployed_project_key,
            settings: input.settings.unwrap_or_default().into(),
        };
        UpdateDeploymentSettingsPayload::of(
            deployments::update_settings(&session.deployer, &session.viewer(), &input.id, change).await,
        )
    }

    /// Deletes a deployment that has no unfinished update. What becomes of its project on the node is `onNode`; what is done there is done by an update (of
    /// type DELETE) before the deployment goes. Needs the right to deploy on both.
    async fn delete_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] id: ID,
        #[graphql(desc = "What becomes of the project on the node; it stays as it is if not given.")] on_node: Option<
            OnNode,
        >,
        #[graphql(desc = "As for startUpdate; of no effect when nothing is to be done on the node.")]
        idempotency_key: Option<String>,
    ) -> Result<DeleteDeploymentPayload> {
        let session = ctx.session()?;
        let on_node = on_node.map_or_else(Default::default, Into::into);
        let key = idempotency_key.as_deref();
        let answer = deployments::delete_with(&session.deployer, &session.viewer(), &id, on_node, key).await;
        let (deletion, refusals) = settle::<_, Deletion>(answer)?;
        let (deleted_id, update) = match deletion {
            None => (None, None),
            Some(Deletion::Gone) => (Some(id), None),
            Some(Deletion::Requested(accepted)) => (None, Some(accepted.update.into())),
        };
        Ok(DeleteDeploymentPayload { deleted_id, update, refusals })
    }
}
