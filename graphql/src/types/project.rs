//! Published projects and their bundles.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Json, Object, SimpleObject, connection::Connection};
use deployer::{bundles, projects, rights, standards};
use serde_json::Value;

use super::{deployment::Deployment, node::all};
use crate::{
    error::{ApiError, Result},
    loaders::{BundlesOf, ContentsOf, DeploymentsOfProject, ManifestOf, ProjectByKey},
    page,
    scalars::{DateTime, Long},
    session::Asked,
};

/// What you may do on a published project.
#[derive(Clone, Copy, Debug, SimpleObject)]
pub(crate) struct ProjectRights {
    /// See it and its bundles.
    read: bool,
    /// Upload and delete bundles.
    write: bool,
    /// Deploy its bundles.
    deploy: bool,
    /// All of these, and set rights.
    admin: bool,
}

impl From<rights::ProjectRights> for ProjectRights {
    fn from(rights: rights::ProjectRights) -> Self {
        let rights::ProjectRights { read, write, deploy, admin } = rights;
        Self { read, write, deploy, admin }
    }
}

/// What a group may do on a published project. Write and deploy contain read; admin contains all.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "ProjectPermissionInput")]
pub(crate) struct ProjectPermission {
    /// The group.
    group: String,
    /// See it and its bundles.
    #[graphql(default)]
    read: bool,
    /// Upload and delete bundles.
    #[graphql(default)]
    write: bool,
    /// Deploy its bundles.
    #[graphql(default)]
    deploy: bool,
    /// All of these, and set rights.
    #[graphql(default)]
    admin: bool,
}

impl From<projects::Permission> for ProjectPermission {
    fn from(one: projects::Permission) -> Self {
        let projects::Permission { group, read, write, deploy, admin } = one;
        Self { group, read, write, deploy, admin }
    }
}

impl From<ProjectPermission> for projects::Permission {
    fn from(one: ProjectPermission) -> Self {
        let ProjectPermission { group, read, write, deploy, admin } = one;
        Self { group, read, write, deploy, admin }
    }
}

/// A collection of bundles that can be deployed.
pub(crate) struct PublishedProject(projects::Project);

impl From<projects::Project> for PublishedProject {
    fn from(one: projects::Project) -> Self {
        Self(one)
    }
}

/// A collection of bundles that can be deployed, with rights of its own. It is made by uploading a bundle (`POST /bundles?projectKey=KEY`, a form with
/// the part `file`), or by an administrator.
#[Object]
impl PublishedProject {
    /// Unique.
    async fn key(&self) -> &str {
        &self.0.key
    }

    /// What people read.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The login that has every right on it.
    async fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Counts changes: editors name the one that they saw.
    async fn version(&self) -> Long {
        self.0.version.into()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Who made it: a login.
    async fn created_by(&self) -> &str {
        &self.0.created_by
    }

    /// What you may do here.
    async fn rights(&self) -> ProjectRights {
        self.0.rights.into()
    }

    /// What each group may do; null unless you administer the project.
    async fn permissions(&self) -> Option<Vec<ProjectPermission>> {
        self.0.permissions.clone().map(all)
    }

    /// Its bundles, newest first.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn bundles(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Bundle>> {
        let page = page::page(first, after.as_deref())?;
        Ok(page::nested(&page, ctx.loader()?.load_one(BundlesOf(self.0.key.clone(), page.clone())).await?))
    }

    /// Its deployments that you may see, by id.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Deployment>> {
        let page = page::page(first, after.as_deref())?;
        Ok(page::nested(&page, ctx.loader()?.load_one(DeploymentsOfProject(self.0.key.clone(), page.clone())).await?))
    }
}

/// One immutable version of a published project.
pub(crate) struct Bundle(bundles::Bundle);

impl From<bundles::Bundle> for Bundle {
    fn from(one: bundles::Bundle) -> Self {
        Self(one)
    }
}

/// One immutable version of a published project. Its archive comes from `GET /projects/KEY/bundles/ID`, with the same key.
#[Object]
impl Bundle {
    /// Unique within its project.
    async fn id(&self) -> ID {
        ID(self.0.key.bundle_id.clone())
    }

    /// The key of its published project.
    async fn project_key(&self) -> &str {
        &self.0.key.project_key
    }

    /// Its published project.
    async fn project(&self, ctx: &Context<'_>) -> Result<Option<PublishedProject>> {
        Ok(ctx.loader()?.load_one(ProjectByKey(self.0.key.project_key.clone())).await?.map(Into::into))
    }

    /// The SHA-256 of the archive, in hexadecimal.
    async fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// The length of the archive, in bytes.
    async fn size(&self) -> Long {
        self.0.size.into()
    }

    /// The archive's name when it was uploaded.
    async fn file_name(&self) -> &str {
        &self.0.file_name
    }

    /// What it holds, as far as a deployment must know: connections, scenarios, web apps, code envs.
    #[graphql(complexity = "500")]
    async fn contents(&self, ctx: &Context<'_>) -> Result<Json<Value>> {
        let found = ctx.loader()?.load_one(ContentsOf(self.0.key.clone())).await?;
        // None: it was deleted meanwhile.
        let contents = found.ok_or_else(|| ApiError::not_found("id"))?;
        let shown = serde_json::to_value(&*contents).map_err(deployer::error::Error::from)?;
        Ok(Json(shown))
    }

    /// Its manifest; made from what was found if it has none.
    #[graphql(complexity = "500")]
    async fn manifest(&self, ctx: &Context<'_>) -> Result<Json<Value>> {
        let found = ctx.loader()?.load_one(ManifestOf(self.0.key.clone())).await?;
        let manifest = found.ok_or_else(|| ApiError::not_found("id"))?;
        Ok(Json(Arc::unwrap_or_clone(manifest)))
    }

    /// The project standards report in its manifest: what the design node's checks found; null if it has none.
    #[graphql(complexity = "500")]
    async fn project_standards_report(&self, ctx: &Context<'_>) -> Result<Option<Json<Value>>> {
        let found = ctx.loader()?.load_one(ManifestOf(self.0.key.clone())).await?;
        let manifest = found.ok_or_else(|| ApiError::not_found("id"))?;
        Ok(standards::report_of(&manifest).cloned().map(Json))
    }

    /// It has no manifest: connections may be missing from its contents.
    async fn inferred(&self) -> bool {
        self.0.inferred
    }

    /// From the manifest; the first 10,000 characters.
    async fn release_notes(&self) -> &str {
        &self.0.release_notes
    }

    /// When it was uploaded.
    async fn uploaded_at(&self) -> DateTime {
        self.0.uploaded_at.into()
    }

    /// Who uploaded it: a login.
    async fn uploaded_by(&self) -> &str {
        &self.0.uploaded_by
    }
}
