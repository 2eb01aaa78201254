//! Drift: what is otherwise on the node than the last successful update left it. Somebody there changed a run-as user, a switch, a remapping, a local
//! variable, or activated another bundle.
//!
//! A check reads from the node and changes nothing there. None is made while an update has not ended, and what is found is thrown away if one was
//! requested meanwhile. [`check`] is asked for; [`sweep`] is a worker's.

mod compare;
mod store;

use std::collections::HashMap;

use engine::{failure::Failure, ids::RunId, runs::due};
use futures_util::{StreamExt as _, stream};
use sea_orm::EntityTrait as _;
use serde::{Deserialize, Serialize};
use targets::target::Difference;

use self::compare::Compared;
pub(crate) use self::compare::on;
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    live::Standing,
    rights::{self, Access, Level},
    updates::Trouble,
    viewer::Viewer,
};

/// What was found when a deployment's node was last compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// The deployment.
    pub deployment_id: String,
    /// The update that the node was compared with.
    pub update: RunId,
    /// When, in µs since the Unix epoch.
    pub checked_at: i64,
    /// What is otherwise; empty is well, unless the check failed.
    pub differences: Vec<Difference>,
    /// Why the node could not be compared.
    pub failure: Option<Trouble>,
}

/// How often nodes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftSettings {
    /// Each deployment once in so many minutes; 0 is never.
    pub every_minutes: u32,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self { every_minutes: 60 }
    }
}

/// What a sweep came to, in deployments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// As the update left them.
    pub same: u64,
    /// Otherwise.
    pub differing: u64,
    /// Whose nodes could not be compared.
    pub failed: u64,
}

/// A period has so many sweeps, so that nodes are asked one after the other.
const SWEEPS: i64 = 60;
/// But no more than one sweep in this time, in µs.
const SWEEP_AT_LEAST: i64 = 10_000_000;
/// One sweep checks so many deployments at most.
const MOST: u64 = 50;
/// So many nodes are asked at once.
const AT_ONCE: usize = 4;

/// What was found at these deployments, as far as the viewer may see them and no later update succeeded. A handful of queries, however many.
///
/// # Errors
/// Faults only.
pub async fn by_deployments(deployer: &Deployer, viewer: &Viewer, ids: &[String]) -> Result<HashMap<String, Drift>> {
    let db = deployer.db.pool();
    let rows = store::current(db, viewer, ids).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for (row, level) in rows {
        let id = row.deployment_id.clone();
        if let Some(drift) = view(row, level)? {
            found.insert(id, drift);
        }
    }
    Ok(found)
}

/// Compares a deployment's node with the last successful update, now.
///
/// # Errors
/// `NOT_FOUND`; `NOT_DEPLOYED` when there is nothing to compare; `UPDATE_RUNNING` while an update has not ended, or when one was requested meanwhile.
pub async fn check(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Drift> {
    let act = Act::new(deployer, viewer, "checkDrift", Object::new(ObjectKind::Deployment, id));
    act.once(check_once(deployer, viewer, id, &act)).await
}

async fn check_once(deployer: &Deployer, viewer: &Viewer, id: &str, act: &Act<'_>) -> Result<Drift> {
    let db = deployer.db.pool();
    let field = "deploymentId";
    let row = rights::require_deployment(db, viewer, id, Access::See, field).await?;
    let busy = || {
        let message =
            "An update of this deployment has not ended: what is on the node is changing. Check again when it has.";
        Error::field("UPDATE_RUNNING", field, message)
    };
    let standing = Standing::read(db, id).await?;
    if standing.unfinished.is_some() {
        return Err(busy());
    }
    if !standing.live.is_some_and(|live| live.kind.deploys()) {
        return Err(not_deployed(field));
    }
    // Before the node is asked: whoever asked may not wait for its answer, and the check has its record all the same.
    act.record().await?;
    match compare::compare(deployer, &row).await? {
        Compared::Busy => Err(busy()),
        Compared::NotLive => Err(not_deployed(field)),
        Compared::Found { .. } => {
            let found = by_deployments(deployer, viewer, &[id.to_owned()]).await?.remove(id);
            found.ok_or_else(|| Error::not_found(field))
        }
    }
}

/// There is no update whose work is on the node.
pub(crate) fn not_deployed(field: &str) -> Error {
    Error::field(
        "NOT_DEPLOYED",
        field,
        "Nothing of this deployment is live on its node: no update has succeeded yet, or it is disabled. Start an update, or enable it.",
    )
}

/// A worker's part of checking all deployments, each once a period: takes those that are due, if it is this process's turn, and checks a bounded number of
/// them. In nobody's name; what it finds is shown by rights.
///
/// # Errors
/// The database's. What was found before is kept.
pub async fn sweep(deployer: &Deployer, settings: DriftSettings) -> Result<Swept> {
    let mut swept = Swept::default();
    let period = i64::from(settings.every_minutes) * 60_000_000;
    if period == 0 {
        return Ok(swept);
    }
    let tx = deployer.db.begin().await?;
    let mine = due::take_chore(&tx, "drift", (period / SWEEPS).max(SWEEP_AT_LEAST)).await?;
    let before = tx.now().await? - period;
    tx.commit().await?;
    if !mine {
        return Ok(swept);
    }
    let due = store::due(&deployer.db, before, MOST, SWEEPS.unsigned_abs()).await?;
    let mut checks = stream::iter(due).map(|id| one(deployer, id, before)).buffer_unordered(AT_ONCE);
    while let Some(found) = checks.next().await {
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(?error, "a deployment's node could not be compared with its last update");
            Some(Found::Failed)
        });
        match found {
            Some(Found::Same) => swept.same += 1,
            Some(Found::Different) => swept.differing += 1,
            Some(Found::Failed) => swept.failed += 1,
            None => {}
        }
    }
    Ok(swept)
}

enum Found {
    Same,
    Different,
    Failed,
}

/// Checks one deployment, unless another process began to.
async fn one(deployer: &Deployer, id: String, before: i64) -> Result<Option<Found>> {
    if !store::take(&deployer.db, &id, before).await? {
        return Ok(None);
    }
    let Some(row) = entities::deployment::Entity::find_by_id(id).one(deployer.db.pool()).await? else {
        return Ok(None);
    };
    Ok(match compare::compare(deployer, &row).await? {
        Compared::Busy | Compared::NotLive => None,
        Compared::Found { failed: true, .. } => Some(Found::Failed),
        Compared::Found { differences: 0, .. } => Some(Found::Same),
        Compared::Found { differences, .. } => {
            tracing::warn!(deployment = row.id, differences, "the node is otherwise than the last update left it");
            Some(Found::Different)
        }
    })
}

fn view(row: entities::drift::Model, level: Level) -> Result<Option<Drift>> {
    let Some(checked_at) = row.checked_at else { return Ok(None) };
    let failure: Option<Failure> = row.failure.as_deref().map(serde_json::from_str).transpose()?;
    Ok(Some(Drift {
        deployment_id: row.deployment_id,
        update: RunId(row.run_id),
        checked_at,
        differences: serde_json::from_str(&row.differences)?,
        failure: failure.map(|failure| Trouble::of(&failure, level >= Level::Admin)),
    }))
}

/// The differences that were found since this update; None when its node was not compared.
pub(crate) async fn found_since(
    deployer: &Deployer,
    deployment: &str,
    update: RunId,
) -> Result<Option<(i64, Vec<Difference>)>> {
    let row = entities::drift::Entity::find_by_id(deployment).one(deployer.db.pool()).await?;
    let Some(row) = row.filter(|row| row.run_id == update.0) else { return Ok(None) };
    let differences = serde_json::from_str(&row.differences)?;
    Ok(row.checked_at.map(|at| (at, differences)))
}
