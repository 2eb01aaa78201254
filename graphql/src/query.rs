//! What can be asked. A thing that is hidden is as one that is not there: null.

use async_graphql::{Context, ID, InputObject, Json, Object, SimpleObject, connection::Connection};
use deployer::{
    accounts, audit, bundles, connections, deployments, governance, infrastructures, keys, pools, preview, projects,
    services, stages, updates, workers,
};

use crate::{
    error::{ApiError, Refusal, Result, settle},
    loaders::{BundleByKey, DeploymentById, InfrastructureById, ProjectByKey, ServiceById, UpdateById},
    page,
    session::Asked,
    types::{
        accounts::{ApiKey, Group, User, UserFilter, Viewer},
        audit::{AuditEvent, AuditFilter},
        deployment::{Deployment, DeploymentFilter, RemappedDeployment},
        enums::StageKind,
        governance::GovernanceMessage,
        infrastructure::{Infrastructure, InfrastructureFilter, Stage},
        node::all,
        platform::{self, ConnectionType, InfrastructureType, PlatformConnection},
        pool::Pool,
        preview::UpdatePreview,
        project::{Bundle, PublishedProject},
        service::{PublishedService, ServiceAnswer, ServiceSchemas, ServiceVersion},
        update::{Update, UpdateFilter, run_id},
        worker::Worker,
    },
};

/// The answer of a preview.
#[derive(SimpleObject)]
pub(crate) struct PreviewUpdatePayload {
    /// What an update would change; null if refused.
    preview: Option<UpdatePreview>,
    /// Why nothing was done; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `governanceStatus`.
#[derive(SimpleObject)]
pub(crate) struct GovernanceStatusPayload {
    /// Whether the infrastructure has a governance source, which was asked.
    asked: bool,
    /// What it said, or that it could not be asked; empty without a source.
    messages: Vec<GovernanceMessage>,
    /// Why nothing was asked; empty if it was, or if there is no source.
    refusals: Vec<Refusal>,
}

/// The answer of `queryService`.
#[derive(SimpleObject)]
pub(crate) struct QueryServicePayload {
    /// What the service said, in the order of the queries; empty if refused.
    answers: Vec<ServiceAnswer>,
    /// Why nothing was asked; empty if it was.
    refusals: Vec<Refusal>,
}

/// The answer of `testService`.
#[derive(SimpleObject)]
pub(crate) struct TestServicePayload {
    /// The queries that the version brings along.
    queries: Vec<Json<serde_json::Value>>,
    /// What the service said, in their order; empty if refused.
    answers: Vec<ServiceAnswer>,
    /// Why nothing was asked; empty if it was.
    refusals: Vec<Refusal>,
}

/// A header that goes along with queries.
#[derive(InputObject)]
pub(crate) struct HeaderInput {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
}

/// What can be asked.
pub struct Query;

/// What can be asked. A thing that you may not see is as one that is not there: null, and in no list. Lists are pages of up to 100 items: ask for the next one
/// with `after: pageInfo.endCursor`.
#[Object]
impl Query {
    /// You, and what your key gives you.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer> {
        Ok(deployer::viewer::Viewer::clone(&ctx.session()?.viewer()).into())
    }

    /// A list of stages, in order.
    async fn stages(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "StageKind::Project", desc = "Which list.")] kind: StageKind,
    ) -> Result<Vec<Stage>> {
        let session = ctx.session()?;
        Ok(all(stages::list(&session.deployer, &session.viewer(), kind.into()).await?))
    }

    /// An infrastructure.
    async fn infrastructure(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] id: ID,
    ) -> Result<Option<Infrastructure>> {
        Ok(ctx.loader()?.load_one(InfrastructureById(id.0)).await?.map(Into::into))
    }

    /// The infrastructures that you may see, by id.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn infrastructures(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which; all if not given.")] filter: Option<InfrastructureFilter>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Infrastructure>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let filter = filter.unwrap_or_default().into();
        Ok(page::connection(&page, infrastructures::list(&session.deployer, &session.viewer(), &filter, &page).await?))
    }

    /// A published project.
    async fn published_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its key.")] key: String,
    ) -> Result<Option<PublishedProject>> {
        Ok(ctx.loader()?.load_one(ProjectByKey(key)).await?.map(Into::into))
    }

    /// The published projects that you may see, by key.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn published_projects(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Part of the key or the name, whatever the case.")] search: Option<String>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, PublishedProject>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        Ok(page::connection(
            &page,
            projects::list(&session.deployer, &session.viewer(), search.as_deref(), &page).await?,
        ))
    }

    /// A published API service.
    async fn published_service(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] id: ID,
    ) -> Result<Option<PublishedService>> {
        Ok(ctx.loader()?.load_one(ServiceById(id.0)).await?.map(Into::into))
    }

    /// The published API services that you may see, by id.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn published_services(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Part of the id or the name, whatever the case.")] search: Option<String>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, PublishedService>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let found = services::list(&session.deployer, &session.viewer(), search.as_deref(), &page).await?;
        Ok(page::connection(&page, found))
    }

    /// A version of a published API service. To upload one, send it to `POST /service-versions?serviceId=ID` as a form with the part `file`.
    async fn service_version(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The id of its published service.")] service_id: ID,
        #[graphql(desc = "The version.")] version: ID,
    ) -> Result<Option<ServiceVersion>> {
        let session = ctx.session()?;
        let found = services::versions::get(&session.deployer, &session.viewer(), &service_id, &version).await?;
        Ok(found.map(Into::into))
    }

    /// The kinds of platform, each with the JSON Schemas that a form can be drawn from.
    async fn infrastructure_types(&self, ctx: &Context<'_>) -> Result<Vec<InfrastructureType>> {
        platform::infrastructure_types(ctx)
    }

    /// The types of connection, each with the JSON Schema that a form can be drawn from.
    async fn connection_types(&self, ctx: &Context<'_>) -> Result<Vec<ConnectionType>> {
        platform::connection_types(ctx)
    }

    /// The JSON Schemas of settings that API services have on every platform.
    async fn service_schemas(&self) -> Result<ServiceSchemas> {
        let (authorization, query_log) =
            (platform::schema(services::AUTHORIZATION)?, platform::schema(services::QUERY_LOG)?);
        Ok(ServiceSchemas { authorization, query_log })
    }

    /// A connection to a platform.
    async fn connection(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] id: ID,
    ) -> Result<Option<PlatformConnection>> {
        let session = ctx.session()?;
        Ok(connections::get(&session.deployer, &session.viewer(), &id).await?.map(Into::into))
    }

    /// The connections that you may see, by id.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn connections(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Part of the id, whatever the case.")] text: Option<String>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, PlatformConnection>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let found = connections::list(&session.deployer, &session.viewer(), text.as_deref(), &page).await?;
        Ok(page::connection(&page, found))
    }

    /// Puts queries to a deployed API service, with the deployer's own credentials. Whoever may deploy, and members of the deployment's `queryGroups`.
    #[graphql(complexity = "page::NODE_COST + child_complexity")]
    async fn query_service(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(desc = "Which endpoint, where there are several.")] endpoint: Option<String>,
        #[graphql(
            desc = "At most 100, each as the API node takes it for the endpoint's type, such as {\"features\": {…}}."
        )]
        queries: Vec<Json<serde_json::Value>>,
        #[graphql(
            desc = "At most 20 headers that go along with each. None that carry credentials or say how the body is sent."
        )]
        headers: Option<Vec<HeaderInput>>,
    ) -> Result<QueryServicePayload> {
        let session = ctx.session()?;
        let headers: Vec<_> = headers.unwrap_or_default().into_iter().map(|one| (one.name, one.value)).collect();
        let one = |body: Json<serde_json::Value>| services::query::Query { body: body.0, headers: headers.clone() };
        let bodies = queries.into_iter().map(one).collect();
        let viewer = session.viewer();
        let answer =
            services::query::query(&session.deployer, &viewer, &deployment_id, endpoint.as_deref(), bodies).await;
        let (answers, refusals) = settle::<_, Vec<services::query::Answered>>(answer)?;
        Ok(QueryServicePayload { answers: all(answers.unwrap_or_default()), refusals })
    }

    /// Puts the test queries that the deployed version brings along for an endpoint. For whom `queryService` is.
    #[graphql(complexity = "page::NODE_COST + child_complexity")]
    async fn test_service(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(desc = "Which endpoint, where there are several.")] endpoint: Option<String>,
    ) -> Result<TestServicePayload> {
        let session = ctx.session()?;
        let viewer = session.viewer();
        let answer = services::query::test(&session.deployer, &viewer, &deployment_id, endpoint.as_deref()).await;
        let (answered, refusals) = settle::<_, Vec<_>>(answer)?;
        let (queries, answers): (Vec<_>, Vec<_>) =
            answered.unwrap_or_default().into_iter().map(|(query, answer)| (Json(query.body), answer.into())).unzip();
        Ok(TestServicePayload { queries, answers, refusals })
    }

    /// A bundle. To upload one, send it to `POST /bundles?projectKey=KEY` as a form with the part `file`.
    async fn bundle(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The key of its published project.")] project_key: String,
        #[graphql(desc = "Its id.")] id: ID,
    ) -> Result<Option<Bundle>> {
        let key = bundles::BundleKey { project_key, bundle_id: id.0 };
        Ok(ctx.loader()?.load_one(BundleByKey(key)).await?.map(Into::into))
    }

    /// A deployment.
    async fn deployment(&self, ctx: &Context<'_>, #[graphql(desc = "Its id.")] id: ID) -> Result<Option<Deployment>> {
        Ok(ctx.loader()?.load_one(DeploymentById(id.0)).await?.map(Into::into))
    }

    /// The deployments that you may see, by id.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which; all if not given.")] filter: Option<DeploymentFilter>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Deployment>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let filter = filter.unwrap_or_default().into();
        Ok(page::connection(&page, deployments::list(&session.deployer, &session.viewer(), &filter, &page).await?))
    }

    /// The deployments that remap otherwise than their infrastructure does today, by id: of those that you may see, on infrastructures that you may
    /// deploy on. An infrastructure's remappings are copied into new deployments alone.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn remapped_deployments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "On this infrastructure; on all if not given.")] infrastructure_id: Option<ID>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, RemappedDeployment>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let on = infrastructure_id.as_ref().map(|id| id.as_str());
        let found = deployments::remapped_otherwise(&session.deployer, &session.viewer(), on, &page).await?;
        Ok(page::connection(&page, found))
    }

    /// What an update of a deployment would change on the node, and what would stop it. Nothing is touched. Needs the right to deploy.
    #[graphql(complexity = "page::NODE_COST + child_complexity")]
    async fn preview_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
    ) -> Result<PreviewUpdatePayload> {
        let session = ctx.session()?;
        let (preview, refusals) =
            settle(preview::preview_update(&session.deployer, &session.viewer(), &deployment_id).await)?;
        Ok(PreviewUpdatePayload { preview, refusals })
    }

    /// Asks the infrastructure's governance source about a bundle on a deployment, whatever the policy is.
    #[graphql(complexity = "page::NODE_COST + child_complexity")]
    async fn governance_status(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The deployment's id.")] deployment_id: ID,
        #[graphql(desc = "The bundle; the deployment's own if not given.")] bundle_id: Option<ID>,
    ) -> Result<GovernanceStatusPayload> {
        let session = ctx.session()?;
        let bundle = bundle_id.as_ref().map(|id| id.as_str());
        let answer = governance::status(&session.deployer, &session.viewer(), &deployment_id, bundle).await;
        let (found, refusals) = settle::<_, governance::Governance>(answer)?;
        let found = found.unwrap_or_default();
        Ok(GovernanceStatusPayload { asked: found.asked, messages: all(found.messages), refusals })
    }

    /// An update.
    #[graphql(complexity = "page::FOLD_COST + child_complexity")]
    async fn update(&self, ctx: &Context<'_>, #[graphql(desc = "Its id.")] id: ID) -> Result<Option<Update>> {
        let Some(run) = run_id(&id) else { return Ok(None) };
        Ok(ctx.loader()?.load_one(UpdateById(run)).await?.map(Into::into))
    }

    /// The updates that you may see, newest first.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn updates(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which; all if not given.")] filter: Option<UpdateFilter>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Update>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let filter = filter.unwrap_or_default().into();
        Ok(page::connection(&page, updates::briefs(&session.deployer, &session.viewer(), &filter, &page).await?))
    }

    /// The pool that limits how many hooks run at once, over all workers. Its numbers are public; whose they are is not.
    async fn hook_pool(&self, ctx: &Context<'_>) -> Result<Pool> {
        let session = ctx.session()?;
        let pool = pools::get(&session.deployer, &session.viewer(), pools::HOOKS).await?;
        pool.map(Into::into).ok_or_else(|| ApiError::from(deployer::error::Error::fault("there is no pool of hooks")))
    }

    /// The workers that have not ended, by name. Global administrators alone.
    async fn workers(&self, ctx: &Context<'_>) -> Result<Vec<Worker>> {
        let session = ctx.session()?;
        Ok(all(workers::list(&session.deployer, &session.viewer()).await?))
    }

    /// A user.
    async fn user(&self, ctx: &Context<'_>, #[graphql(desc = "The login.")] login: String) -> Result<Option<User>> {
        let session = ctx.session()?;
        Ok(accounts::users::get(&session.deployer, &session.viewer(), &login).await?.map(Into::into))
    }

    /// Users, by login.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which; all if not given.")] filter: Option<UserFilter>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, User>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let filter = filter.unwrap_or_default().into();
        Ok(page::connection(&page, accounts::users::list(&session.deployer, &session.viewer(), &filter, &page).await?))
    }

    /// Groups, by name.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn groups(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Part of the name.")] text: Option<String>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, Group>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        Ok(page::connection(
            &page,
            accounts::groups::list(&session.deployer, &session.viewer(), text.as_deref(), &page).await?,
        ))
    }

    /// Records of the audit, newest first: every change that was made or refused. Global administrators read all of them; an infrastructure's
    /// administrators those that concern it, and deployments on it that they may see; nobody else any.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn audit_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which; all if not given.")] filter: Option<AuditFilter>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, AuditEvent>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        let filter = filter.unwrap_or_default().into();
        Ok(page::connection(&page, audit::list::list(&session.deployer, &session.viewer(), &filter, &page).await?))
    }

    /// A user's API keys, revoked and expired ones, too. Somebody else's: for global administrators alone.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose; yours if not given.")] login: Option<String>,
        #[graphql(desc = "How many, 1 to 100; 50 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before.")] after: Option<String>,
    ) -> Result<Connection<String, ApiKey>> {
        let (session, page) = (ctx.session()?, page::page(first, after.as_deref())?);
        Ok(page::connection(&page, keys::list(&session.deployer, &session.viewer(), login.as_deref(), &page).await?))
    }
}
