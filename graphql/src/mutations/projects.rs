//! Published projects and bundles.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use deployer::{bundles, projects};

use super::payload;
use crate::{
    error::{Refusal, Result, settle},
    scalars::Long,
    session::Asked,
    types::{
        node::all,
        project::{ProjectPermission, PublishedProject},
    },
};

payload!(
    /// The answer of `createPublishedProject`.
    CreatePublishedProjectPayload {
        /// The new project; null if refused.
        project: PublishedProject
    }
);
payload!(
    /// The answer of `updatePublishedProject`.
    UpdatePublishedProjectPayload {
        /// The changed project; null if refused.
        project: PublishedProject
    }
);

/// The answer of `deletePublishedProject`.
#[derive(SimpleObject)]
pub(crate) struct DeletePublishedProjectPayload {
    /// The key that is gone; null if refused.
    deleted_key: Option<String>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `deleteBundle`.
#[derive(SimpleObject)]
pub(crate) struct DeleteBundlePayload {
    /// The id that is gone; null if refused.
    deleted_id: Option<ID>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// A change of a published project. What is not given is left as it is.
#[derive(InputObject)]
pub(crate) struct UpdatePublishedProjectInput {
    /// Which.
    key: String,
    /// The version that you saw: somebody else's change meanwhile is not overwritten, but refused with `VERSION_CONFLICT`.
    expected_version: Long,
    /// Another name.
    name: Option<String>,
    /// Another owner: a login.
    owner: Option<String>,
    /// All groups with rights, in place of those before.
    permissions: Option<Vec<ProjectPermission>>,
}

#[derive(Default)]
pub(super) struct Projects;

#[Object]
impl Projects {
    /// Makes an empty published project that belongs to you. Uploading its first bundle makes one, too:
    /// `POST /bundles?projectKey=KEY`.
    async fn create_published_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Unique, for good: 1 to 100 characters, none of / ? # %.")] key: String,
        #[graphql(desc = "What people read; the key if not given.")] name: Option<String>,
    ) -> Result<CreatePublishedProjectPayload> {
        let session = ctx.session()?;
        CreatePublishedProjectPayload::of(
            projects::create(&session.deployer, &session.viewer(), &key, name.as_deref()).await,
        )
    }

    /// Changes a published project's name, owner or rights. Its administrators alone.
    async fn update_published_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdatePublishedProjectInput,
    ) -> Result<UpdatePublishedProjectPayload> {
        let session = ctx.session()?;
        let change = projects::Change {
            expected_version: input.expected_version.0,
            name: input.name,
            owner: input.owner,
            permissions: input.permissions.map(all),
            other: None,
        };
        UpdatePublishedProjectPayload::of(
            projects::update(&session.deployer, &session.viewer(), &input.key, change).await,
        )
    }

    /// Deletes a published project that has neither bundles nor deployments. Its administrators alone.
    async fn delete_published_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project's key.")] key: String,
    ) -> Result<DeletePublishedProjectPayload> {
        let session = ctx.session()?;
        let answer = projects::delete(&session.deployer, &session.viewer(), &key).await.map(|()| key);
        let (deleted_key, refusals) = settle(answer)?;
        Ok(DeletePublishedProjectPayload { deleted_key, refusals })
    }

    /// Deletes a bundle that no deployment and no unfinished update uses. If a node has imported it, its id stays bound to its content. Needs the
    /// right to write.
    async fn delete_bundle(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key of its published project.")] project_key: String,
        #[graphql(desc = "The bundle's id.")] id: ID,
    ) -> Result<DeleteBundlePayload> {
        let session = ctx.session()?;
        let key = bundles::BundleKey { project_key, bundle_id: id.0 };
        let answer = bundles::delete(&session.deployer, &session.viewer(), &key).await.map(|()| ID(key.bundle_id));
        let (deleted_id, refusals) = settle(answer)?;
        Ok(DeleteBundlePayload { deleted_id, refusals })
    }
}
