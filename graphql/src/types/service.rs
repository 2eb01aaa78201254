//! Published API services, their versions, and what is set on their deployments.

use async_graphql::{Context, ID, InputObject, Json, MaybeUndefined, Object, SimpleObject, connection::Connection};
use deployer::{
    deployments,
    services::{self, query::Answered, versions},
};
use serde_json::Value;
use targets::{spec, target};

use super::{
    deployment::Deployment,
    node::all,
    platform::{Settings, document},
    project::{ProjectPermission, ProjectRights},
    settings::named,
    step::Failure,
};
use crate::{
    error::{Result, settle},
    loaders::ServiceById,
    page,
    scalars::{DateTime, Long},
    session::Asked,
};

/// A collection of versions of an API service.
pub(crate) struct PublishedService(services::Service);

impl From<services::Service> for PublishedService {
    fn from(one: services::Service) -> Self {
        Self(one)
    }
}

/// A collection of versions of an API service that can be deployed, with rights of its own. Versions are uploaded with `POST /service-versions?serviceId=ID`, a form with
/// the part `file`.
#[Object]
impl PublishedService {
    /// Unique.
    async fn id(&self) -> ID {
        ID(self.0.key.clone())
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

    /// What each group may do; null unless you administer the service.
    async fn permissions(&self) -> Option<Vec<ProjectPermission>> {
        self.0.permissions.clone().map(all)
    }

    /// Its versions, newest first.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, ServiceVersion>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let found = versions::list(&session.deployer, &session.viewer(), &self.0.key, &page).await?;
        Ok(page::nested(&page, found))
    }

    /// Its deployments that you may see, by id.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Deployment>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let filter = deployments::Filter { service: Some(self.0.key.clone()), ..Default::default() };
        Ok(page::connection(&page, deployments::list(&session.deployer, &session.viewer(), &filter, &page).await?))
    }
}

/// One immutable version of a published service. Its archive comes from `GET /services/ID/versions/VERSION`, with the same key.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct ServiceVersion {
    /// Unique within its service.
    version: ID,
    /// The id of its published service.
    service_id: ID,
    /// The SHA-256 of the archive, in hexadecimal.
    sha256: String,
    /// The length of the archive, in bytes.
    size: Long,
    /// The archive's name when it was uploaded.
    file_name: String,
    /// What can be called.
    endpoints: Vec<ServiceEndpoint>,
    /// Who may call, by its manifest: PUBLIC, API_KEYS or OAUTH2; null if it does not say.
    auth_method: Option<String>,
    /// When it was uploaded.
    uploaded_at: DateTime,
    /// Who uploaded it: a login.
    uploaded_by: String,
}

#[async_graphql::ComplexObject]
impl ServiceVersion {
    /// Its published service.
    async fn service(&self, ctx: &Context<'_>) -> Result<Option<PublishedService>> {
        Ok(ctx.loader()?.load_one(ServiceById(self.service_id.0.clone())).await?.map(Into::into))
    }
}

impl From<versions::Version> for ServiceVersion {
    fn from(one: versions::Version) -> Self {
        Self {
            version: ID(one.version),
            service_id: ID(one.service_id),
            sha256: one.sha256,
            size: one.size.into(),
            file_name: one.file_name,
            endpoints: all(one.endpoints),
            auth_method: one.auth_method,
            uploaded_at: one.uploaded_at.into(),
            uploaded_by: one.uploaded_by,
        }
    }
}

/// An endpoint of a service.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ServiceEndpoint {
    /// Its id.
    id: ID,
    /// Its type, such as STD_PREDICTION; null if the manifest does not say.
    #[graphql(name = "type")]
    kind: Option<String>,
}

impl From<spec::EndpointSpec> for ServiceEndpoint {
    fn from(one: spec::EndpointSpec) -> Self {
        Self { id: ID(one.id), kind: one.kind }
    }
}

/// A version's share of the queries.
#[derive(Clone, Debug, SimpleObject, InputObject)]
#[graphql(input_name = "VersionShareInput")]
pub(crate) struct VersionShare {
    /// The version.
    version: String,
    /// Its share, above 0 and at most 1; all shares of a deployment sum to 1.
    probability: f64,
}

impl From<target::VersionShare> for VersionShare {
    fn from(one: target::VersionShare) -> Self {
        Self { version: one.version, probability: one.probability }
    }
}

impl From<VersionShare> for target::VersionShare {
    fn from(one: VersionShare) -> Self {
        Self { version: one.version, probability: one.probability }
    }
}

/// What is set on the deployment of an API service.
pub(crate) struct DeployedService {
    deployment: String,
    published: String,
    deployed: String,
    version: String,
    enabled: bool,
    settings: deployments::ApiSettings,
}

impl DeployedService {
    pub(crate) fn of(one: &deployments::Deployment) -> Option<Self> {
        let settings = one.settings.api.clone()?;
        Some(Self {
            deployment: one.id.clone(),
            published: one.project_key.clone(),
            deployed: one.deployed_project_key.clone(),
            version: one.bundle_id.clone(),
            enabled: !one.settings.disabled,
            settings,
        })
    }
}

/// What is set on the deployment of an API service.
#[Object]
impl DeployedService {
    /// The id of its published service.
    async fn published_service_id(&self) -> ID {
        ID(self.published.clone())
    }

    /// Its published service.
    async fn published_service(&self, ctx: &Context<'_>) -> Result<Option<PublishedService>> {
        Ok(ctx.loader()?.load_one(ServiceById(self.published.clone())).await?.map(Into::into))
    }

    /// Its id on the platform: what callers name.
    async fn deployed_service_id(&self) -> ID {
        ID(self.deployed.clone())
    }

    /// Whether it takes queries after an update.
    async fn enabled(&self) -> bool {
        self.enabled
    }

    /// The versions that are to answer, and their shares of the queries.
    async fn versions(&self) -> Vec<VersionShare> {
        if self.settings.versions.is_empty() {
            return vec![VersionShare { version: self.version.clone(), probability: 1.0 }];
        }
        all(self.settings.versions.clone())
    }

    /// The OpenAPI document of what is live; null where nothing is, or where the version names no endpoints.
    #[graphql(complexity = "page::NODE_COST")]
    async fn open_api(&self, ctx: &Context<'_>) -> Result<Option<Json<Value>>> {
        let session = ctx.session()?;
        let document = services::open_api::document(&session.deployer, &session.viewer(), &self.deployment).await;
        Ok(settle::<_, Value>(document)?.0.map(Json))
    }

    /// The only endpoint that is served, on platforms that serve one.
    async fn endpoint(&self) -> Option<&str> {
        self.settings.endpoint.as_deref()
    }

    /// The groups whose members may query through the deployer, beside those who may deploy.
    async fn query_groups(&self) -> &[String] {
        &self.settings.query_groups
    }

    /// Who may call, in place of what the versions say; empty leaves that. Ten asterisks stand for each secret.
    async fn authorization(&self) -> Json<Value> {
        Json(Value::Object(self.settings.authorization.clone()))
    }

    /// Where queries are logged, in place of what the infrastructure says; empty leaves that.
    async fn query_log(&self) -> Json<Value> {
        Json(Value::Object(self.settings.query_log.clone()))
    }

    /// What the platform wants to know of it.
    async fn platform(&self) -> Json<Value> {
        Json(Value::Object(self.settings.platform.clone()))
    }
}

/// What to set of the deployment of an API service. A field that is not given is left as it is.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct ServiceSettingsInput {
    /// Whether it takes queries after an update.
    enabled: Option<bool>,
    /// Several versions with their shares, in place of those before; an empty list is the deployment's one version.
    versions: Option<Vec<VersionShare>>,
    /// The only endpoint that is served, on platforms that serve one; null takes it away.
    endpoint: MaybeUndefined<String>,
    /// All groups whose members may query through the deployer.
    query_groups: Option<Vec<String>>,
    /// Who may call, as `serviceSchemas.authorization` describes it; an empty object leaves what the versions say. Ten asterisks keep a secret that is stored.
    #[graphql(secret)]
    authorization: Option<Json<Settings>>,
    /// Where queries are logged, as `serviceSchemas.queryLog` describes it; an empty object leaves what the infrastructure says.
    #[graphql(secret)]
    query_log: Option<Json<Settings>>,
    /// What the platform wants to know, as `deploymentSchema` of its type describes it.
    #[graphql(secret)]
    platform: Option<Json<Settings>>,
}

impl From<ServiceSettingsInput> for deployments::ApiChange {
    fn from(input: ServiceSettingsInput) -> Self {
        Self {
            enabled: input.enabled,
            versions: input.versions.map(all),
            endpoint: named(input.endpoint),
            query_groups: input.query_groups,
            authorization: document(input.authorization),
            query_log: document(input.query_log),
            platform: document(input.platform),
        }
    }
}

/// The JSON Schemas of settings that deployments of API services have on every platform.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ServiceSchemas {
    /// Of who may call.
    pub(crate) authorization: Json<Value>,
    /// Of where queries are logged.
    pub(crate) query_log: Json<Value>,
}

/// What came of a query.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ServiceAnswer {
    /// The HTTP status of the service's answer; null if it could not be asked.
    status: Option<i32>,
    /// What it said.
    body: Option<Json<Value>>,
    /// Why it could not be asked.
    failure: Option<Failure>,
}

impl From<Answered> for ServiceAnswer {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Service(answer) => {
                Self { status: Some(answer.status.into()), body: Some(Json(answer.body)), failure: None }
            }
            Answered::Failed(trouble) => Self { status: None, body: None, failure: Some(trouble.into()) },
        }
    }
}

/// What there is of an API service after an update.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ServiceReceipt {
    /// Its id on the platform.
    service_id: ID,
    /// Whether it answers queries.
    enabled: bool,
    /// Its versions and their shares.
    versions: Vec<VersionShare>,
    /// Where it is called.
    urls: Vec<String>,
    /// What else was read back, by name.
    facts: Json<Value>,
}

impl From<target::ServiceReceipt> for ServiceReceipt {
    fn from(receipt: target::ServiceReceipt) -> Self {
        Self {
            service_id: ID(receipt.service_id),
            enabled: receipt.enabled,
            versions: all(receipt.versions),
            urls: receipt.urls,
            facts: Json(Value::Object(receipt.facts.into_iter().collect())),
        }
    }
}
