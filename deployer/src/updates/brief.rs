//! Updates at a glance: what stands in their rows. Nothing is folded, so a long list of them costs as much as its rows.

use std::collections::HashMap;

use engine::{ids::RunId, journal::Status};
use entities::{deployment, run};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use targets::target::Half;

use super::{
    list::{self, Filter},
    view::Update,
};
use crate::{
    Deployer,
    error::{Error, Result},
    halves,
    paging::{Listing, Page},
    rights::{self, Access, DeploymentRights},
    viewer::Viewer,
};

/// One execution that makes a deployment so, without its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Its id.
    pub id: RunId,
    /// From 1 within the deployment.
    pub number: i64,
    /// The deployment.
    pub deployment_id: String,
    /// Where to.
    pub infrastructure_id: String,
    /// What it deploys.
    pub half: Half,
    /// The published project, or service.
    pub project_key: String,
    /// At a glance.
    pub status: Status,
    /// The login that asked.
    pub requester: String,
    /// When, in µs since the Unix epoch; unique within the deployment, also in milliseconds.
    pub requested_at: i64,
    /// When a worker first took it.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// The newest event: where a subscription goes on from.
    pub last_seq: i64,
    /// What the viewer may do with its deployment.
    pub rights: DeploymentRights,
}

impl From<&Update> for Brief {
    fn from(update: &Update) -> Self {
        Self {
            id: update.id,
            number: update.number,
            deployment_id: update.deployment_id.clone(),
            infrastructure_id: update.infrastructure_id.clone(),
            half: update.half,
            project_key: update.project_key.clone(),
            status: update.status,
            requester: update.requester.clone(),
            requested_at: update.requested_at,
            started_at: update.started_at,
            ended_at: update.ended_at,
            last_seq: update.last_seq,
            rights: update.rights,
        }
    }
}

/// The updates that the viewer may see, newest first.
///
/// # Errors
/// `PAGE_INVALID` for a cursor of another list.
pub async fn briefs(deployer: &Deployer, viewer: &Viewer, filter: &Filter, page: &Page) -> Result<Listing<Brief>> {
    let ids = list::ids(deployer, viewer, filter, page).await?;
    let mut found = read(deployer, viewer, &ids).await?;
    let in_order = ids.iter().filter_map(|id| found.remove(id)).collect();
    Ok(page.listing(in_order, cursor))
}

/// The newest update of each of these deployments, as far as the viewer may see it.
///
/// # Errors
/// Faults only.
pub async fn latest_briefs(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_ids: &[String],
) -> Result<HashMap<String, Brief>> {
    let ids = list::latest_ids(deployer, viewer, deployment_ids).await?;
    let found = read(deployer, viewer, &ids).await?;
    Ok(found.into_values().map(|brief| (brief.deployment_id.clone(), brief)).collect())
}

/// Where a list goes on after this one.
pub(super) fn cursor(brief: &Brief) -> String {
    format!("{} {}", brief.requested_at, brief.id)
}

/// Those of these runs whose deployments the viewer may see: a handful of queries, however many.
pub(super) async fn read(deployer: &Deployer, viewer: &Viewer, ids: &[i64]) -> Result<HashMap<i64, Brief>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let db = deployer.db.pool();
    let runs = run::Entity::find().filter(run::Column::Id.is_in(ids.iter().copied())).all(db).await?;
    let mut named: Vec<_> = runs.iter().map(|run| run.deployment_id.clone()).collect();
    named.sort_unstable();
    named.dedup();
    let deployments: Vec<(String, String, String)> = deployment::Entity::find()
        .select_only()
        .columns([deployment::Column::Id, deployment::Column::InfrastructureId, deployment::Column::ProjectKey])
        .filter(deployment::Column::Id.is_in(named))
        .filter(rights::deployments_where(viewer, Access::See))
        .into_tuple()
        .all(db)
        .await?;
    let infrastructures: Vec<_> = deployments.iter().map(|(_, infrastructure, _)| infrastructure.clone()).collect();
    let projects: Vec<_> = deployments.iter().map(|(_, _, project)| project.clone()).collect();
    let levels = rights::infrastructure_levels(db, viewer, &infrastructures).await?;
    let rights = rights::project_rights(db, viewer, &projects).await?;
    let places: HashMap<_, _> =
        deployments.into_iter().map(|(id, infrastructure, project)| (id, (infrastructure, project))).collect();
    let mut found = HashMap::with_capacity(runs.len());
    for run in runs {
        let Some((infrastructure_id, project_key)) = places.get(&run.deployment_id).cloned() else { continue };
        let both = DeploymentRights {
            infrastructure: levels.get(&infrastructure_id).copied().unwrap_or_default(),
            project: rights.get(&project_key).copied().unwrap_or_default(),
        };
        // They may have been taken away between two of the queries.
        if !both.may(Access::See) {
            continue;
        }
        let status = run.status.parse().map_err(|_| Error::fault(format!("run {} has an unknown status", run.id)))?;
        let brief = Brief {
            id: RunId(run.id),
            number: run.run_no,
            deployment_id: run.deployment_id,
            infrastructure_id,
            half: halves::half_of(&project_key),
            project_key: halves::shown(&project_key).to_owned(),
            status,
            requester: run.requester,
            requested_at: run.requested_at,
            started_at: run.started_at,
            ended_at: run.ended_at,
            last_seq: run.seq,
            rights: both,
        };
        found.insert(run.id, brief);
    }
    Ok(found)
}
