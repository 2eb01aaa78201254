//! What a deployment's updates left on the node, as their journals tell it: for its health, for the search for drift, and for restoring.

use engine::{
    ids::RunId,
    journal::{State, Status},
    runs::{self, Loaded},
};
use entities::run;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{ExprTrait as _, IntoCondition},
};
use targets::{
    spec::{DeploySpec, NamedNode},
    target::Receipt,
};

use crate::{
    error::Result,
    freeze::{RESTORE, VERIFY},
    updates::{UpdateType, nodes},
};

/// So many updates back are looked through.
const DEPTH: u64 = 50;
/// So many when it is looked for one of a kind.
const DEEP: u64 = 200;
/// The kinds of step that may change the node.
const CHANGING: [&str; 6] = ["push_bundle", "activate", "enforce_run_as", "restore", "switch_off", "delete_project"];

/// An update that succeeded, perhaps with warnings.
#[derive(Clone, Debug)]
pub(crate) struct Success {
    pub(crate) run: RunId,
    pub(crate) number: i64,
    pub(crate) kind: UpdateType,
    pub(crate) requester: String,
    pub(crate) requested_at: i64,
    pub(crate) ended_at: i64,
    pub(crate) body: DeploySpec,
    /// By node; without a name where there is one. A node that was left out has none.
    pub(crate) receipts: Vec<(Option<String>, Receipt)>,
    pub(crate) warnings: Vec<String>,
}

/// Where a deployment stands by its updates.
pub(crate) struct Standing {
    /// The first update that has not ended: what is on the node may be changing.
    pub(crate) unfinished: Option<RunId>,
    /// The newest update that ended, or is stuck, and was not called off before it changed anything.
    pub(crate) last: Option<Loaded>,
    /// The newest success.
    pub(crate) live: Option<Success>,
}

impl Standing {
    /// Reads it: a handful of queries.
    pub(crate) async fn read<C: ConnectionTrait>(db: &C, deployment: &str) -> Result<Self> {
        let rows = run::Entity::find()
            .filter(run::Column::DeploymentId.eq(deployment))
            .order_by_desc(run::Column::RunNo)
            .limit(DEPTH)
            .all(db)
            .await?;
        let stuck = Status::Stuck.as_str();
        let unfinished =
            rows.iter().rfind(|run| run.ended_at.is_none() && run.status != stuck).map(|run| RunId(run.id));
        let mut last = None;
        for row in rows.iter().filter(|run| run.ended_at.is_some() || run.status == stuck) {
            let Some(loaded) = runs::load(db, RunId(row.id)).await? else { continue };
            if loaded.state.status() == Status::Cancelled && !may_have_changed(&loaded.state) {
                continue;
            }
            last = Some(loaded);
            break;
        }
        let live = match last.as_ref().map(Success::of).transpose()?.flatten() {
            Some(live) => Some(live),
            None => successes(db, deployment, 1).await?.pop(),
        };
        Ok(Self { unfinished, last, live })
    }
}

impl Success {
    fn of(run: &Loaded) -> Result<Option<Self>> {
        if !matches!(run.state.status(), Status::Succeeded | Status::Warning) {
            return Ok(None);
        }
        Ok(Some(Self {
            run: RunId(run.row.id),
            number: run.row.run_no,
            kind: UpdateType::of(&run.state.spec),
            requested_at: run.row.requested_at,
            requester: run.state.spec.requester.clone(),
            ended_at: run.row.ended_at.unwrap_or_default(),
            body: serde_json::from_value(run.state.spec.body.clone())?,
            receipts: nodes::receipts(&run.state),
            warnings: run.state.steps.iter().flat_map(|step| step.warnings.iter().cloned()).collect(),
        }))
    }
}

impl Success {
    /// What was on this node after it.
    pub(crate) fn receipt(&self, node: Option<&str>) -> Option<&Receipt> {
        self.receipts.iter().find(|(name, _)| name.as_deref() == node).map(|(_, receipt)| receipt)
    }
}

/// What is there of a deployment, and where.
pub(crate) struct Served {
    pub(crate) body: DeploySpec,
    /// The nodes that have it; without a name where there is one.
    nodes: Vec<Option<String>>,
}

impl Served {
    fn of(state: &State) -> Result<Self> {
        let nodes = nodes::receipts(state).into_iter().map(|(name, _)| name).collect();
        Ok(Self { body: serde_json::from_value(state.spec.body.clone())?, nodes })
    }

    fn of_success(live: Success) -> Self {
        Self { nodes: live.receipts.into_iter().map(|(name, _)| name).collect(), body: live.body }
    }

    /// Puts the nodes first that have it: others may run what was there before.
    pub(crate) fn first_of(&self, nodes: &mut [NamedNode]) {
        nodes.sort_by_key(|node| !self.nodes.iter().any(|name| name.as_deref() == Some(node.name.as_str())));
    }
}

/// What a deployed service is made of, for whoever asks it something now: what the newest update put there and looked at, be it that its post-hooks still run, or that one of them
/// failed it; else what the newest success did.
pub(crate) async fn served<C: ConnectionTrait>(db: &C, deployment: &str) -> Result<Option<Served>> {
    let (newest, live) = newest(db, deployment).await?;
    match newest.iter().find(|state| is_there(state)) {
        Some(there) => Ok(Some(Served::of(there)?)),
        None => Ok(live.map(Served::of_success)),
    }
}

/// All that may be on one or another node: what an update that has not ended, or ended half-way, may have put there, and what the newest success did.
pub(crate) async fn may_be_there<C: ConnectionTrait>(db: &C, deployment: &str) -> Result<Vec<Served>> {
    let (newest, live) = newest(db, deployment).await?;
    let deploys = |state: &State| UpdateType::of(&state.spec).deploys() && may_have_changed(state);
    // Those after it may have changed nothing, and hide one that did.
    let since = run::Column::RunNo.gt(live.as_ref().map_or(0, |live| live.number));
    let half_done = first(db, deployment, since.and(run::Column::EndedAt.is_not_null()), deploys).await?;
    let under_way = newest.into_iter().filter(|state| !state.status().is_final() && deploys(state));
    let all: Vec<State> = under_way.chain(half_done).collect();
    all.iter().map(Served::of).chain(live.map(|live| Ok(Served::of_success(live)))).collect()
}

/// Of updates that deploy: the first that has not ended and the newest that has; and the newest success.
async fn newest<C: ConnectionTrait>(db: &C, deployment: &str) -> Result<(Vec<State>, Option<Success>)> {
    let standing = Standing::read(db, deployment).await?;
    let unfinished = match standing.unfinished {
        Some(id) => runs::load(db, id).await?,
        None => None,
    };
    let newest = [unfinished, standing.last].into_iter().flatten().map(|run| run.state);
    let newest = newest.filter(|state| UpdateType::of(&state.spec).deploys()).collect();
    Ok((newest, standing.live.filter(|live| live.kind.deploys())))
}

/// Whether an update's last looks are taken, but for nodes that it left out, and nothing is being put back.
fn is_there(state: &State) -> bool {
    let steps = || state.spec.plan.steps.iter().zip(&state.steps).enumerate();
    let of = |kind: &'static str| steps().filter(move |(_, (planned, _))| planned.kind == kind);
    let mut looks = of(VERIFY).filter(|(at, _)| !state.is_left_out(*at)).map(|(_, (_, step))| step).peekable();
    looks.peek().is_some()
        && looks.all(|step| step.output.is_some())
        && of(RESTORE).all(|(_, (_, step))| step.attempts.is_empty())
}

/// The newest successes of a deployment, newest first.
pub(crate) async fn successes<C: ConnectionTrait>(db: &C, deployment: &str, most: u64) -> Result<Vec<Success>> {
    let ids: Vec<i64> = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::DeploymentId.eq(deployment))
        .filter(run::Column::Status.is_in([Status::Succeeded.as_str(), Status::Warning.as_str()]))
        .order_by_desc(run::Column::RunNo)
        .limit(most)
        .into_tuple()
        .all(db)
        .await?;
    let ids: Vec<_> = ids.into_iter().map(RunId).collect();
    let mut found = runs::load_many(db, &ids).await?;
    found.sort_by_key(|run| std::cmp::Reverse(run.row.run_no));
    Ok(found.iter().map(Success::of).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Whether any update of this deployment ever succeeded.
pub(crate) async fn ever_deployed<C: ConnectionTrait>(db: &C, deployment: &str) -> Result<bool> {
    let succeeded = run::Entity::find()
        .filter(run::Column::DeploymentId.eq(deployment))
        .filter(run::Column::Status.is_in([Status::Succeeded.as_str(), Status::Warning.as_str()]));
    Ok(succeeded.count(db).await? > 0)
}

/// Whether an update after this one ended, was to deploy, and may have changed the node.
pub(crate) async fn half_done_since<C: ConnectionTrait>(db: &C, deployment: &str, number: i64) -> Result<bool> {
    let ended = run::Column::RunNo.gt(number).and(run::Column::EndedAt.is_not_null());
    any(db, deployment, ended, |state| UpdateType::of(&state.spec).deploys() && may_have_changed(state)).await
}

/// Whether any update of this deployment ever changed its node, or may have.
pub(crate) async fn ever_changed<C: ConnectionTrait>(db: &C, deployment: &str) -> Result<bool> {
    let every = run::Column::RunNo.gt(0);
    if any(db, deployment, every, may_have_changed).await? {
        return Ok(true);
    }
    // One so busy that not all were looked through.
    let all = run::Entity::find().filter(run::Column::DeploymentId.eq(deployment)).count(db).await?;
    Ok(all > DEEP && ever_deployed(db, deployment).await?)
}

/// Whether this is so for one of these updates at least; journals are read one by one, newest first.
async fn any<C: ConnectionTrait>(
    db: &C,
    deployment: &str,
    which: impl IntoCondition,
    is_so: impl Fn(&State) -> bool,
) -> Result<bool> {
    Ok(first(db, deployment, which, is_so).await?.is_some())
}

/// The newest of these updates for which this is so.
async fn first<C: ConnectionTrait>(
    db: &C,
    deployment: &str,
    which: impl IntoCondition,
    is_so: impl Fn(&State) -> bool,
) -> Result<Option<State>> {
    let ids: Vec<i64> = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::DeploymentId.eq(deployment))
        .filter(which)
        .order_by_desc(run::Column::RunNo)
        .limit(DEEP)
        .into_tuple()
        .all(db)
        .await?;
    for id in ids {
        if let Some(run) = runs::load(db, RunId(id)).await?.filter(|run| is_so(&run.state)) {
            return Ok(Some(run.state));
        }
    }
    Ok(None)
}

/// Whether an update began with something that changes the node.
pub(crate) fn may_have_changed(state: &State) -> bool {
    let mut steps = state.spec.plan.steps.iter().zip(&state.steps);
    steps.any(|(planned, step)| CHANGING.contains(&planned.kind.as_str()) && !step.attempts.is_empty())
}
