//! Finding deployments. What the viewer may not see is filtered out by the database, so that no page or cursor tells of it.

use std::collections::{BTreeSet, HashMap};

use engine::journal::Status;
use entities::{deployment, infrastructure, run};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, Query},
};

use targets::target::Half;

use super::Deployment;
use crate::{
    Deployer,
    accounts::users::contains,
    error::Result,
    halves,
    paging::{Listing, Page},
    projects::storable,
    rights::{self, Access},
    stages, text,
    viewer::Viewer,
};

/// Which deployments; all conditions hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// On this infrastructure.
    pub infrastructure: Option<String>,
    /// Of this published project.
    pub project: Option<String>,
    /// Of this published service.
    pub service: Option<String>,
    /// Of projects, or of API services.
    pub half: Option<Half>,
    /// On an infrastructure of this stage.
    pub stage: Option<String>,
    /// On an infrastructure whose stage is gone.
    pub without_stage: bool,
    /// The newest update has one of these statuses.
    pub status: Option<Vec<Status>>,
    /// Somewhere in the id, without regard to case.
    pub text: Option<String>,
}

/// The deployment; None if there is none that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn get(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Option<Deployment>> {
    Ok(by_ids(deployer, viewer, &[id.to_owned()]).await?.remove(id))
}

/// Those of these deployments that the viewer may see: a handful of queries, however many.
///
/// # Errors
/// Faults only.
pub async fn by_ids(deployer: &Deployer, viewer: &Viewer, ids: &[String]) -> Result<HashMap<String, Deployment>> {
    let rows = deployment::Entity::find()
        .filter(deployment::Column::Id.is_in(storable(ids)))
        .filter(rights::deployments_where(viewer, Access::See))
        .all(deployer.db.pool())
        .await?;
    let found = views(deployer, viewer, rows).await?;
    Ok(found.into_iter().map(|deployment| (deployment.id.clone(), deployment)).collect())
}

/// The deployments that the viewer may see, by id.
///
/// # Errors
/// Faults only.
pub async fn list(deployer: &Deployer, viewer: &Viewer, filter: &Filter, page: &Page) -> Result<Listing<Deployment>> {
    if [&filter.infrastructure, &filter.project, &filter.service, &filter.stage]
        .into_iter()
        .flatten()
        .any(|id| !text::storable(id))
    {
        return Ok(page.listing(Vec::new(), |deployment: &Deployment| deployment.id.clone()));
    }
    let mut query = deployment::Entity::find().filter(rights::deployments_where(viewer, Access::See));
    if let Some(infrastructure) = &filter.infrastructure {
        query = query.filter(deployment::Column::InfrastructureId.eq(infrastructure));
    }
    if let Some(project) = &filter.project {
        query = query.filter(deployment::Column::ProjectKey.eq(project));
    }
    if let Some(service) = &filter.service {
        query = query.filter(deployment::Column::ProjectKey.eq(halves::service_key(service)));
    }
    if let Some(half) = filter.half {
        query = query.filter(halves::of_half(deployment::Column::ProjectKey, half));
    }
    if let Some(stage) = &filter.stage {
        let there = Query::select()
            .column(infrastructure::Column::Id)
            .from(infrastructure::Entity)
            .and_where(infrastructure::Column::Stage.eq(stage))
            .to_owned();
        query = query.filter(deployment::Column::InfrastructureId.in_subquery(there));
    }
    if filter.without_stage {
        let there = Query::select()
            .column(infrastructure::Column::Id)
            .from(infrastructure::Entity)
            .cond_where(stages::vanished())
            .to_owned();
        query = query.filter(deployment::Column::InfrastructureId.in_subquery(there));
    }
    if let Some(status) = &filter.status {
        let statuses: BTreeSet<&str> = status.iter().map(|status| status.as_str()).collect();
        let newest = Query::select()
            .expr(Expr::val(1))
            .from(run::Entity)
            .and_where(
                Expr::col((run::Entity, run::Column::DeploymentId))
                    .equals((deployment::Entity, deployment::Column::Id)),
            )
            .and_where(
                Expr::col((run::Entity, run::Column::RunNo))
                    .equals((deployment::Entity, deployment::Column::LastRunNo)),
            )
            .and_where(run::Column::Status.is_in(statuses))
            .to_owned();
        query = query.filter(Expr::exists(newest));
    }
    if let Some(text) = &filter.text {
        query = query.filter(contains(deployment::Column::Id, text));
    }
    if let Some(after) = &page.after {
        query = query.filter(deployment::Column::Id.gt(after));
    }
    let rows = query.order_by_asc(deployment::Column::Id).limit(page.limit()).all(deployer.db.pool()).await?;
    Ok(page.listing(views(deployer, viewer, rows).await?, |deployment| deployment.id.clone()))
}

/// Rows that the viewer may see, with the viewer's rights on each.
pub(super) async fn views(
    deployer: &Deployer,
    viewer: &Viewer,
    rows: Vec<deployment::Model>,
) -> Result<Vec<Deployment>> {
    let rights = rights::deployment_rights(deployer.db.pool(), viewer, &rows).await?;
    rows.into_iter()
        .map(|row| {
            let rights = rights.get(&row.id).copied().unwrap_or_default();
            Deployment::of(row, rights)
        })
        .collect()
}
