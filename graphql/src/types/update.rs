//! Updates.

use std::sync::Arc;

use async_graphql::{
    Context, ID, InputObject, Object,
    connection::{Connection, Edge},
};
use deployer::{bundles::BundleKey, updates};
use engine::ids::RunId;
use targets::target::Half;

use super::{
    deployment::{Deployment, DeploymentRights},
    enums::{StageKind, UpdateStatus, UpdateType},
    hook::HookCounts,
    infrastructure::Infrastructure,
    node::{Receipt, UpdatedNode, all},
    project::Bundle,
    service::VersionShare,
    step::{Failure, Step, WaitingOn},
    update_event::{LogLine, UpdateEvent},
};
use crate::{
    error::{ApiError, Result},
    loaders::{BundleByKey, DeploymentById, EventsOf, FrozenOf, InfrastructureById, JournalWindow, LogOf, UpdateById},
    page,
    scalars::{DateTime, Long},
    session::Asked,
};

/// Which updates. All conditions hold together.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct UpdateFilter {
    /// In one of these statuses.
    status: Option<Vec<UpdateStatus>>,
    /// Of this deployment.
    deployment: Option<String>,
    /// On this infrastructure.
    infrastructure: Option<String>,
    /// Of this published project.
    project: Option<String>,
    /// Asked for by this login.
    requester: Option<String>,
    /// On an infrastructure of this stage.
    stage: Option<String>,
}

impl From<UpdateFilter> for updates::list::Filter {
    fn from(filter: UpdateFilter) -> Self {
        Self {
            status: filter.status.map(all),
            deployment: filter.deployment,
            infrastructure: filter.infrastructure,
            project: filter.project,
            requester: filter.requester,
            stage: filter.stage,
        }
    }
}

/// An update's id, if the text can be one.
pub(crate) fn run_id(id: &ID) -> Option<RunId> {
    id.parse().ok().filter(|run: &RunId| run.to_string() == id.as_str())
}

/// One execution that makes a deployment so: what stands in its row, and, for who asks for it, what its journal says.
pub(crate) struct Update {
    brief: updates::Brief,
    whole: Option<Arc<updates::Update>>,
}

impl From<updates::Update> for Update {
    fn from(whole: updates::Update) -> Self {
        Arc::new(whole).into()
    }
}

impl From<Arc<updates::Update>> for Update {
    fn from(whole: Arc<updates::Update>) -> Self {
        Self { brief: (&*whole).into(), whole: Some(whole) }
    }
}

impl From<updates::Brief> for Update {
    fn from(brief: updates::Brief) -> Self {
        Self { brief, whole: None }
    }
}

impl Update {
    /// With its journal folded. The loader reads those of a whole list at once.
    async fn whole(&self, ctx: &Context<'_>) -> Result<Arc<updates::Update>> {
        match &self.whole {
            Some(whole) => Ok(whole.clone()),
            None => {
                let found = ctx.loader()?.load_one(UpdateById(self.brief.id)).await?;
                found.ok_or_else(|| ApiError::not_found("id"))
            }
        }
    }

    async fn frozen(&self, ctx: &Context<'_>) -> Result<updates::Frozen> {
        match &self.whole {
            Some(whole) => Ok((&**whole).into()),
            None => {
                let found = ctx.loader()?.load_one(FrozenOf(self.brief.id)).await?;
                found.ok_or_else(|| ApiError::not_found("id"))
            }
        }
    }
}

/// One execution that makes a deployment so. What it deploys was frozen when it was asked for.
#[Object]
impl Update {
    /// Unique.
    async fn id(&self) -> ID {
        ID(self.brief.id.to_string())
    }

    /// From 1 within the deployment.
    async fn number(&self) -> Long {
        self.brief.number.into()
    }

    /// The id of its deployment.
    async fn deployment_id(&self) -> ID {
        ID(self.brief.deployment_id.clone())
    }

    /// Its deployment, as it is now.
    async fn deployment(&self, ctx: &Context<'_>) -> Result<Option<Deployment>> {
        Ok(ctx.loader()?.load_one(DeploymentById(self.brief.deployment_id.clone())).await?.map(Into::into))
    }

    /// The id of its infrastructure.
    async fn infrastructure_id(&self) -> ID {
        ID(self.brief.infrastructure_id.clone())
    }

    /// Its infrastructure, as it is now.
    async fn infrastructure(&self, ctx: &Context<'_>) -> Result<Option<Infrastructure>> {
        Ok(ctx.loader()?.load_one(InfrastructureById(self.brief.infrastructure_id.clone())).await?.map(Into::into))
    }

    /// The key of its published project, or the id of its published API service.
    async fn project_key(&self) -> &str {
        &self.brief.project_key
    }

    /// The id of the bundle that it deploys.
    #[graphql(complexity = "10")]
    async fn bundle_id(&self, ctx: &Context<'_>) -> Result<ID> {
        Ok(ID(self.frozen(ctx).await?.bundle_id))
    }

    /// What it deploys: a project, or an API service.
    async fn kind(&self) -> StageKind {
        match self.brief.half {
            Half::Project => StageKind::Project,
            Half::Api => StageKind::Api,
        }
    }

    /// The versions of an API service that it deploys, with their shares; empty for a project.
    #[graphql(complexity = "10 + child_complexity")]
    async fn versions(&self, ctx: &Context<'_>) -> Result<Vec<VersionShare>> {
        Ok(all(self.whole(ctx).await?.versions.clone()))
    }

    /// The bundle that it deploys; null if it was deleted, and for an API service.
    #[graphql(complexity = "10 + child_complexity")]
    async fn bundle(&self, ctx: &Context<'_>) -> Result<Option<Bundle>> {
        if self.brief.half == Half::Api {
            return Ok(None);
        }
        let bundle_id = self.frozen(ctx).await?.bundle_id;
        let key = BundleKey { project_key: self.brief.project_key.clone(), bundle_id };
        Ok(ctx.loader()?.load_one(BundleByKey(key)).await?.map(Into::into))
    }

    /// The project key on the node.
    #[graphql(complexity = "10")]
    async fn deployed_project_key(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(self.frozen(ctx).await?.deployed_project_key)
    }

    /// At a glance.
    async fn status(&self) -> UpdateStatus {
        self.brief.status.into()
    }

    /// Who asked for it: a login.
    async fn requester(&self) -> &str {
        &self.brief.requester
    }

    /// The login on the node as whom changes are made.
    #[graphql(complexity = "10")]
    async fn acting_user(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(self.frozen(ctx).await?.acting_user)
    }

    /// What it is for.
    #[graphql(name = "type", complexity = "10")]
    async fn update_type(&self, ctx: &Context<'_>) -> Result<UpdateType> {
        Ok(self.frozen(ctx).await?.kind.into())
    }

    /// The id of the update that this one retries.
    #[graphql(complexity = "10")]
    async fn retry_of(&self, ctx: &Context<'_>) -> Result<Option<ID>> {
        Ok(self.frozen(ctx).await?.retry_of.map(|run| ID(run.to_string())))
    }

    /// When it was asked for.
    async fn requested_at(&self) -> DateTime {
        self.brief.requested_at.into()
    }

    /// When a worker first took it.
    async fn started_at(&self) -> Option<DateTime> {
        self.brief.started_at.map(Into::into)
    }

    /// When it ended.
    async fn ended_at(&self) -> Option<DateTime> {
        self.brief.ended_at.map(Into::into)
    }

    /// Who asked to cancel it: a login.
    #[graphql(complexity = "page::FOLD_COST")]
    async fn cancel_requested_by(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        Ok(self.whole(ctx).await?.cancel_requested_by.clone())
    }

    /// Why it stopped before its plan's end.
    #[graphql(complexity = "page::FOLD_COST + child_complexity")]
    async fn failure(&self, ctx: &Context<'_>) -> Result<Option<Failure>> {
        Ok(self.whole(ctx).await?.failure.clone().map(Into::into))
    }

    /// What its steps warned of.
    #[graphql(complexity = "page::FOLD_COST")]
    async fn warnings(&self, ctx: &Context<'_>) -> Result<Vec<String>> {
        Ok(self.whole(ctx).await?.warnings.clone())
    }

    /// Its steps, in order.
    #[graphql(complexity = "page::FOLD_COST + 12 * child_complexity")]
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<Step>> {
        Ok(all(self.whole(ctx).await?.steps.clone()))
    }

    /// How many hooks it runs.
    #[graphql(complexity = "10 + child_complexity")]
    async fn hooks(&self, ctx: &Context<'_>) -> Result<HookCounts> {
        Ok(self.frozen(ctx).await?.hooks.into())
    }

    /// What it waits for right now.
    #[graphql(complexity = "page::FOLD_COST + child_complexity")]
    async fn waiting_on(&self, ctx: &Context<'_>) -> Result<Option<WaitingOn>> {
        Ok(self.whole(ctx).await?.waiting_on.clone().map(Into::into))
    }

    /// What became of each of several nodes, in the order in which they are activated; empty when there is one.
    #[graphql(complexity = "page::FOLD_COST + 4 * child_complexity")]
    async fn nodes(&self, ctx: &Context<'_>) -> Result<Vec<UpdatedNode>> {
        Ok(all(self.whole(ctx).await?.nodes.clone()))
    }

    /// What is on the node after it, as its last look found it; on the first one that was looked at, where there are several.
    #[graphql(complexity = "page::FOLD_COST + child_complexity")]
    async fn receipt(&self, ctx: &Context<'_>) -> Result<Option<Receipt>> {
        Ok(self.whole(ctx).await?.receipt.clone().map(Into::into))
    }

    /// The number of its newest event: where a subscription goes on from.
    async fn last_seq(&self) -> Long {
        self.brief.last_seq.into()
    }

    /// What you may do with its deployment.
    async fn rights(&self) -> DeploymentRights {
        self.brief.rights.into()
    }

    /// Its journal, in order. To follow it while it runs, subscribe to `updateEvents`.
    #[graphql(complexity = "page::journal_cost(first, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 999; 100 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before, which is the seq of its last event.")] after: Option<
            String,
        >,
    ) -> Result<Connection<Seq, UpdateEvent>> {
        let window = Window::new(first, after.as_deref())?;
        let read = ctx.loader()?.load_one(EventsOf(window.of(self.brief.id))).await?;
        Ok(window.connection(read.unwrap_or_default(), |event| event.seq))
    }

    /// What its hooks, steps and node said, in order. To follow it while it runs, subscribe to `updateLog`.
    #[graphql(complexity = "page::journal_cost(first, child_complexity)")]
    async fn log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 999; 100 if not given.")] first: Option<i32>,
        #[graphql(desc = "The endCursor of the page before, which is the seq of its last line.")] after: Option<String>,
    ) -> Result<Connection<Seq, LogLine>> {
        let window = Window::new(first, after.as_deref())?;
        let read = ctx.loader()?.load_one(LogOf(window.of(self.brief.id))).await?;
        Ok(window.connection(read.unwrap_or_default(), |line| line.seq))
    }
}

/// A cursor that is a number.
type Seq = i64;

/// A page of numbered things.
struct Window {
    first: u64,
    after: Seq,
}

impl Window {
    fn new(first: Option<i32>, after: Option<&str>) -> Result<Self> {
        let refused =
            |field: &str, message: &str| ApiError::from(deployer::error::Error::field("PAGE_INVALID", field, message));
        let first = first.unwrap_or(100);
        let first = u64::try_from(first).ok().filter(|first| (1..updates::events::MOST).contains(first));
        let first = first.ok_or_else(|| refused("first", "Ask for 1 to 999 items."))?;
        let after = after
            .map_or(Ok(0), str::parse)
            .map_err(|_| refused("after", "This cursor is not one of ours. Use the endCursor of the page before."))?;
        Ok(Self { first, after })
    }

    /// Of this update, and one more than asked for: it tells whether there is a next page.
    fn of(&self, run: RunId) -> JournalWindow {
        JournalWindow { run, after: self.after, first: self.first + 1 }
    }

    fn connection<T, N: From<T> + async_graphql::OutputType>(
        &self,
        mut read: Vec<T>,
        seq: impl Fn(&T) -> Seq,
    ) -> Connection<Seq, N> {
        let most = usize::try_from(self.first).unwrap_or(usize::MAX);
        let mut connection = Connection::new(self.after > 0, read.len() > most);
        read.truncate(most);
        connection.edges.extend(read.into_iter().map(|one| Edge::new(seq(&one), N::from(one))));
        connection
    }
}
