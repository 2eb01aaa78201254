//! Published API services, their versions and deployments; connections.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use deployer::{accounts::groups, connections, deployments, infrastructures::CheckOutcome, projects, services};

use super::{accounts::GroupPayload, deployments::CreateDeploymentPayload, payload};
use crate::{
    error::{Refusal, Result, settle},
    scalars::Long,
    session::Asked,
    types::{
        deployment::DeploymentSettingsInput,
        node::{NodeReport, all},
        platform::{CreateConnectionInput, PlatformConnection, UpdateConnectionInput},
        project::ProjectPermission,
        service::PublishedService,
        step::Failure,
    },
};

payload!(
    /// The answer of `createPublishedService` and `updatePublishedService`.
    PublishedServicePayload {
        /// The service; null if refused.
        service: PublishedService
    }
);
payload!(
    /// The answer of `createConnection` and `updateConnection`.
    ConnectionPayload {
        /// The connection; null if refused.
        connection: PlatformConnection
    }
);

/// The answer of a deletion.
#[derive(SimpleObject)]
pub(crate) struct DeletedPayload {
    /// The id that is gone; null if refused.
    deleted_id: Option<ID>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

impl DeletedPayload {
    fn of(id: ID, answer: deployer::error::Result<()>) -> Result<Self> {
        let (deleted_id, refusals) = settle(answer.map(|()| id))?;
        Ok(Self { deleted_id, refusals })
    }
}

/// The answer of `checkConnection`.
#[derive(SimpleObject)]
pub(crate) struct CheckConnectionPayload {
    /// Whose the credentials are, and what they lack; null if they were not tried, or the platform could not be reached.
    report: Option<NodeReport>,
    /// Why the platform could not be reached: what an update would fail with.
    failure: Option<Failure>,
    /// Why nothing was tried; empty if it was.
    refusals: Vec<Refusal>,
}

/// A change of a published service. What is not given is left as it is.
#[derive(InputObject)]
pub(crate) struct UpdatePublishedServiceInput {
    /// Which.
    id: ID,
    /// The version that you saw: somebody else's change meanwhile is not overwritten, but refused with `VERSION_CONFLICT`.
    expected_version: Long,
    /// Another name.
    name: Option<String>,
    /// Another owner: a login.
    owner: Option<String>,
    /// All groups with rights, in place of those before.
    permissions: Option<Vec<ProjectPermission>>,
}

/// A deployment of an API service to be made.
#[derive(InputObject)]
pub(crate) struct CreateServiceDeploymentInput {
    /// Unique, for good, also among deployments of projects: 1 to 100 characters, none of / ? # %.
    id: ID,
    /// The published service.
    service_id: ID,
    /// Where to.
    infrastructure_id: ID,
    /// The version; of several, the first one.
    version: ID,
    /// Its id on the platform; the published service's if not given. Unique on the infrastructure.
    deployed_service_id: Option<ID>,
    /// What is to differ from the defaults: of `settings`, only `service`, `onFailure` and `tags` mean something here.
    settings: Option<DeploymentSettingsInput>,
    /// Go on where a policy of the infrastructure warns of the version. Else the warning is a refusal, and nothing is made.
    #[graphql(default)]
    ignore_warnings: bool,
}

#[derive(Default)]
pub(super) struct Services;

#[Object]
impl Services {
    /// Makes an empty published service that belongs to you. Global administrators, and members of groups that may publish API services.
    async fn create_published_service(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Unique, for good: the id in its versions' manifests.")] id: ID,
        #[graphql(desc = "What people read; the id if not given.")] name: Option<String>,
    ) -> Result<PublishedServicePayload> {
        let session = ctx.session()?;
        PublishedServicePayload::of(services::create(&session.deployer, &session.viewer(), &id, name.as_deref()).await)
    }

    /// Changes a published service's name, owner or rights. Its administrators alone.
    async fn update_published_service(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdatePublishedServiceInput,
    ) -> Result<PublishedServicePayload> {
        let session = ctx.session()?;
        let change = projects::Change {
            expected_version: input.expected_version.0,
            name: input.name,
            owner: input.owner,
            permissions: input.permissions.map(all),
            other: None,
        };
        PublishedServicePayload::of(services::update(&session.deployer, &session.viewer(), &input.id, change).await)
    }

    /// Deletes a published service that has neither versions nor deployments. Its administrators alone.
    async fn delete_published_service(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The service's id.")] id: ID,
    ) -> Result<DeletedPayload> {
        let session = ctx.session()?;
        let answer = services::delete(&session.deployer, &session.viewer(), &id).await;
        DeletedPayload::of(id, answer)
    }

    /// Deletes a version that no deployment and no unfinished update uses. Needs the right to write.
    async fn delete_service_version(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of its published service.")] service_id: ID,
        #[graphql(desc = "The version.")] version: ID,
    ) -> Result<DeletedPayload> {
        let session = ctx.session()?;
        let answer = services::versions::delete(&session.deployer, &session.viewer(), &service_id, &version).await;
        DeletedPayload::of(version, answer)
    }

    /// Makes a deployment of an API service. Nothing is deployed by that: start an update. Needs the right to deploy on the infrastructure and on the service.
    async fn create_service_deployment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment.")] input: CreateServiceDeploymentInput,
    ) -> Result<CreateDeploymentPayload> {
        let session = ctx.session()?;
        let new = deployments::NewDeployment {
            id: input.id.0,
            project_key: services::key_of(&input.service_id),
            infrastructure_id: input.infrastructure_id.0,
            bundle_id: input.version.0,
            deployed_project_key: input.deployed_service_id.map(|id| id.0),
            settings: input.settings.unwrap_or_default().into(),
            ignore_warnings: input.ignore_warnings,
        };
        CreateDeploymentPayload::of(deployments::create(&session.deployer, &session.viewer(), new).await)
    }

    /// Lets the members of a group publish API services, or not. Global administrators alone, who may always.
    async fn set_group_rights(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The group.")] name: String,
        #[graphql(desc = "Whether its members may publish API services.")] may_publish_services: bool,
    ) -> Result<GroupPayload> {
        let session = ctx.session()?;
        let answer =
            groups::set_may_publish_services(&session.deployer, &session.viewer(), &name, may_publish_services).await;
        GroupPayload::of(answer)
    }

    /// Makes a connection. Global administrators alone.
    async fn create_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection.")] input: CreateConnectionInput,
    ) -> Result<ConnectionPayload> {
        let session = ctx.session()?;
        ConnectionPayload::of(connections::create(&session.deployer, &session.viewer(), input.into()).await)
    }

    /// Changes a connection's settings or rights. Its administrators alone.
    async fn update_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdateConnectionInput,
    ) -> Result<ConnectionPayload> {
        let session = ctx.session()?;
        let id = input.id.clone();
        ConnectionPayload::of(connections::update(&session.deployer, &session.viewer(), &id, input.into()).await)
    }

    /// Deletes a connection that no infrastructure uses. Its administrators alone.
    async fn delete_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection's id.")] id: ID,
    ) -> Result<DeletedPayload> {
        let session = ctx.session()?;
        let answer = connections::delete(&session.deployer, &session.viewer(), &id).await;
        DeletedPayload::of(id, answer)
    }

    /// Signs in with a connection's credentials, and says whose they are and what they lack. Changes nothing. Whoever may use it.
    #[graphql(complexity = "crate::page::NODE_COST + child_complexity")]
    async fn check_connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The connection's id.")] id: ID,
    ) -> Result<CheckConnectionPayload> {
        let session = ctx.session()?;
        let (found, refusals) = settle(connections::check(&session.deployer, &session.viewer(), &id).await)?;
        let (report, failure) = match found {
            Some(CheckOutcome::Reached(report)) => (Some(report.into()), None),
            Some(CheckOutcome::Failed(failure)) => (None, Some(Failure::for_admins(failure))),
            None => (None, None),
        };
        Ok(CheckConnectionPayload { report, failure, refusals })
    }
}
