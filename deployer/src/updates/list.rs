//! Finding updates. What the viewer may not see is filtered out by the database.

use std::collections::{BTreeSet, HashMap};

use engine::{
    ids::RunId,
    journal::Status,
    runs::{self, Loaded},
};
use entities::{deployment, infrastructure, run};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, Query, SelectStatement},
};

use super::{
    view::{self, Update},
    waiting::{Live, Mentioned},
};
use crate::{
    Deployer,
    error::{Error, Result},
    paging::{Listing, Page},
    projects::storable,
    rights::{self, Access},
    text,
    viewer::Viewer,
};

/// Which updates; all conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these statuses.
    pub status: Option<Vec<Status>>,
    /// Of this deployment.
    pub deployment: Option<String>,
    /// On this infrastructure.
    pub infrastructure: Option<String>,
    /// Of this published project.
    pub project: Option<String>,
    /// Asked for by this login.
    pub requester: Option<String>,
    /// On an infrastructure of this stage.
    pub stage: Option<String>,
}

/// The update; None if there is none that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn get(deployer: &Deployer, viewer: &Viewer, id: RunId) -> Result<Option<Update>> {
    Ok(by_ids(deployer, viewer, &[id]).await?.remove(&id))
}

/// Those of these updates that the viewer may see: a handful of queries, however many.
///
/// # Errors
/// Faults only.
pub async fn by_ids(deployer: &Deployer, viewer: &Viewer, ids: &[RunId]) -> Result<HashMap<RunId, Update>> {
    let visible: Vec<i64> = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::Id.is_in(ids.iter().map(|id| id.0)))
        .filter(run::Column::DeploymentId.in_subquery(deployments(viewer, &Filter::default())))
        .into_tuple()
        .all(deployer.db.pool())
        .await?;
    let updates = views(deployer, viewer, &visible).await?;
    Ok(updates.into_iter().map(|update| (update.id, update)).collect())
}

/// The update of this deployment that was asked for in this millisecond of the Unix epoch; None if there is none that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn at(deployer: &Deployer, viewer: &Viewer, deployment_id: &str, millis: i64) -> Result<Option<Update>> {
    let from = millis.saturating_mul(1_000);
    let filter = Filter { deployment: Some(deployment_id.to_owned()), ..Filter::default() };
    if !text::storable(deployment_id) {
        return Ok(None);
    }
    let ids: Vec<i64> = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::DeploymentId.in_subquery(deployments(viewer, &filter)))
        .filter(run::Column::RequestedAt.gte(from))
        .filter(run::Column::RequestedAt.lt(from.saturating_add(1_000)))
        .into_tuple()
        .all(deployer.db.pool())
        .await?;
    Ok(views(deployer, viewer, &ids).await?.pop())
}

/// The newest update of each of these deployments, as far as the viewer may see it.
///
/// # Errors
/// Faults only.
pub async fn latest_of(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_ids: &[String],
) -> Result<HashMap<String, Update>> {
    let ids = latest_ids(deployer, viewer, deployment_ids).await?;
    let updates = views(deployer, viewer, &ids).await?;
    Ok(updates.into_iter().map(|update| (update.deployment_id.clone(), update)).collect())
}

/// The updates that the viewer may see, newest first.
///
/// # Errors
/// `PAGE_INVALID` for a cursor of another list.
pub async fn list(deployer: &Deployer, viewer: &Viewer, filter: &Filter, page: &Page) -> Result<Listing<Update>> {
    let ids = ids(deployer, viewer, filter, page).await?;
    let updates = views(deployer, viewer, &ids).await?;
    Ok(page.listing(updates, |update| format!("{} {}", update.requested_at, update.id)))
}

/// The ids of the newest updates of these deployments, as far as the viewer may see them.
pub(super) async fn latest_ids(deployer: &Deployer, viewer: &Viewer, deployment_ids: &[String]) -> Result<Vec<i64>> {
    let newest = Query::select()
        .expr(Expr::val(1))
        .from(deployment::Entity)
        .and_where(
            Expr::col((deployment::Entity, deployment::Column::Id)).equals((run::Entity, run::Column::DeploymentId)),
        )
        .and_where(
            Expr::col((deployment::Entity, deployment::Column::LastRunNo)).equals((run::Entity, run::Column::RunNo)),
        )
        .cond_where(rights::deployments_where(viewer, Access::See))
        .to_owned();
    Ok(run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::DeploymentId.is_in(storable(deployment_ids)))
        .filter(Expr::exists(newest))
        .into_tuple()
        .all(deployer.db.pool())
        .await?)
}

/// The ids of a page's updates, in order, and of one more.
pub(super) async fn ids(deployer: &Deployer, viewer: &Viewer, filter: &Filter, page: &Page) -> Result<Vec<i64>> {
    let Filter { status: _, deployment, infrastructure, project, requester, stage } = filter;
    if [deployment, infrastructure, project, requester, stage].into_iter().flatten().any(|text| !text::storable(text)) {
        return Ok(Vec::new());
    }
    let mut query = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::DeploymentId.in_subquery(deployments(viewer, filter)));
    if let Some(status) = &filter.status {
        query = query
            .filter(run::Column::Status.is_in(status.iter().map(|status| status.as_str()).collect::<BTreeSet<_>>()));
    }
    if let Some(requester) = &filter.requester {
        query = query.filter(run::Column::Requester.eq(requester));
    }
    if let Some(cursor) = &page.after {
        query = query.filter(after(cursor)?);
    }
    Ok(query
        .order_by_desc(run::Column::RequestedAt)
        .order_by_desc(run::Column::Id)
        .limit(page.limit())
        .into_tuple()
        .all(deployer.db.pool())
        .await?)
}

/// What comes after a cursor.
pub(super) fn after(cursor: &str) -> Result<Condition> {
    let read = cursor.split_once(' ').and_then(|(at, id)| Some((at.parse::<i64>().ok()?, id.parse::<i64>().ok()?)));
    let (at, id) = read.ok_or_else(|| Error::field("PAGE_INVALID", "after", "This cursor is not one of this list."))?;
    Ok(Condition::any()
        .add(run::Column::RequestedAt.lt(at))
        .add(run::Column::RequestedAt.eq(at).and(run::Column::Id.lt(id))))
}

/// The ids of the deployments that the viewer may see and the filter names.
pub(super) fn deployments(viewer: &Viewer, filter: &Filter) -> SelectStatement {
    let mut select = Query::select();
    select
        .column(deployment::Column::Id)
        .from(deployment::Entity)
        .cond_where(rights::deployments_where(viewer, Access::See));
    if let Some(id) = &filter.deployment {
        select.and_where(deployment::Column::Id.eq(id));
    }
    if let Some(infrastructure) = &filter.infrastructure {
        select.and_where(deployment::Column::InfrastructureId.eq(infrastructure));
    }
    if let Some(project) = &filter.project {
        select.and_where(deployment::Column::ProjectKey.eq(project));
    }
    if let Some(stage) = &filter.stage {
        let there = Query::select()
            .column(infrastructure::Column::Id)
            .from(infrastructure::Entity)
            .and_where(infrastructure::Column::Stage.eq(stage))
            .to_owned();
        select.and_where(deployment::Column::InfrastructureId.in_subquery(there));
    }
    select
}

/// Views of runs whose deployments the viewer may see, in the order of `ids`.
async fn views(deployer: &Deployer, viewer: &Viewer, ids: &[i64]) -> Result<Vec<Update>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let db = deployer.db.pool();
    let run_ids: Vec<_> = ids.iter().copied().map(RunId).collect();
    let loaded = runs::load_many(db, &run_ids).await?;
    let names: BTreeSet<_> = loaded.iter().map(|run| run.row.deployment_id.clone()).collect();
    let rows = deployment::Entity::find().filter(deployment::Column::Id.is_in(names)).all(db).await?;
    let rights = rights::deployment_rights(db, viewer, &rows).await?;
    let live = Live::read(db, &loaded).await?;
    let held = loaded.iter().flat_map(|run| &run.state.steps).flat_map(|step| &step.attempts);
    let held = held.filter_map(|attempt| attempt.slot.as_ref()).flat_map(|slot| slot.holders.iter().copied());
    let mentioned = Mentioned::read(db, viewer, held.chain(live.mentions()).collect()).await?;
    let mut by_id: HashMap<i64, Loaded> = loaded.into_iter().map(|run| (run.row.id, run)).collect();
    let mut updates = Vec::with_capacity(ids.len());
    for run in ids.iter().filter_map(|id| by_id.remove(id)) {
        // Its rights may have been taken away between two of the queries.
        let Some(rights) = rights.get(&run.row.deployment_id).copied().filter(|rights| rights.may(Access::See)) else {
            continue;
        };
        updates.push(view::render(&run, rights, &live, &mentioned)?);
    }
    Ok(updates)
}
