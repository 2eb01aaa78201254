//! Worker processes, as those see them who run the installation: global administrators, and whoever holds the database.

use engine::{
    db::{Db, sql_with},
    ids::{RunId, WorkerId},
    leases,
};
use entities::worker;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use serde_json::Value;

use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    bootstrap::Operator,
    error::{Error, Result},
    rights,
    viewer::Viewer,
};

/// One life of a worker process, which has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its id: each life has another.
    pub id: WorkerId,
    /// For people.
    pub name: String,
    /// When it registered, in µs since the Unix epoch.
    pub started_at: i64,
    /// Its newest heartbeat, in µs since the Unix epoch.
    pub heard_of: i64,
    /// Since when it takes nothing new, or was asked to, in µs since the Unix epoch.
    pub draining_since: Option<i64>,
    /// The updates that it drives, oldest first.
    pub left: Vec<Left>,
}

/// An update that a worker drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The update.
    pub run: RunId,
    /// Its deployment.
    pub deployment_id: String,
    /// The index of the step that it is at.
    pub step: Option<i64>,
}

/// The workers that have not ended, by name. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`; the database's.
pub async fn list(deployer: &Deployer, viewer: &Viewer) -> Result<Vec<Worker>> {
    rights::require_global_admin(viewer)?;
    living(&deployer.db).await
}

/// Asks a worker to drain: it takes nothing new, hands its updates over, and its process ends. Repeating it changes nothing. Global administrators
/// alone.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND` for one that has ended; the database's.
pub async fn drain(deployer: &Deployer, viewer: &Viewer, id: WorkerId) -> Result<Worker> {
    let act = Act::new(deployer, viewer, "drainWorker", worker(id));
    act.once(drain_once(deployer, viewer, id, &act)).await
}

fn worker(id: WorkerId) -> Object {
    Object::new(ObjectKind::Worker, &id.to_string())
}

async fn drain_once(deployer: &Deployer, viewer: &Viewer, id: WorkerId, act: &Act<'_>) -> Result<Worker> {
    rights::require_global_admin(viewer)?;
    ask(&deployer.db, id, act).await?;
    tracing::info!(worker.id = %id, by = viewer.login, "a worker was asked to drain");
    let found = living(&deployer.db).await?.into_iter().find(|worker| worker.id == id);
    found.ok_or_else(|| Error::not_found("id"))
}

/// Asks all workers of this name, or the one of this id, to drain.
///
/// # Errors
/// `NOT_FOUND` when there is none that has not ended; the database's.
pub async fn drain_named(db: &Db, operator: Operator<'_>, name: &str) -> Result<Vec<Worker>> {
    let mut asked = Vec::new();
    for worker in living(db).await?.into_iter().filter(|worker| worker.name == name || worker.id.to_string() == name) {
        let act = operator.act(db, "drainWorker", self::worker(worker.id));
        match act.once(ask(db, worker.id, &act)).await {
            Ok(()) => asked.push(worker),
            // It ended since.
            Err(Error::Refused(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    if asked.is_empty() { Err(Error::not_found("name")) } else { Ok(asked) }
}

async fn ask(db: &Db, id: WorkerId, act: &Act<'_>) -> Result<()> {
    let tx = db.begin().await?;
    act.before(&tx).await?;
    if !leases::drain(&tx, id).await? {
        return Err(Error::not_found("id"));
    }
    act.commit(tx).await
}

/// Two queries, however many.
async fn living(db: &Db) -> Result<Vec<Worker>> {
    let rows = worker::Entity::find()
        .filter(worker::Column::EndedAt.is_null())
        .order_by_asc(worker::Column::Name)
        .order_by_asc(worker::Column::Id)
        .all(db.pool())
        .await?;
    let sql = "SELECT r.id, r.deployment_id, r.worker_id, r.step FROM run r JOIN worker w ON w.id = r.worker_id \
               WHERE r.ended_at IS NULL AND w.ended_at IS NULL ORDER BY r.requested_at, r.id";
    let mut held = Vec::new();
    for row in db.pool().query_all_raw(sql_with(db.pool(), sql, [])).await? {
        let left = Left {
            run: RunId(row.try_get("", "id")?),
            deployment_id: row.try_get("", "deployment_id")?,
            step: row.try_get("", "step")?,
        };
        held.push((row.try_get::<i64>("", "worker_id")?, left));
    }
    let view = |row: worker::Model| Worker {
        id: WorkerId(row.id),
        heard_of: row.lease_until - lease_us(&row.facts),
        name: row.name,
        started_at: row.started_at,
        draining_since: row.draining_since,
        left: held.iter().filter(|(holder, _)| *holder == row.id).map(|(_, left)| left.clone()).collect(),
    };
    Ok(rows.into_iter().map(view).collect())
}

/// The length of its lease, which its row is ahead of its newest heartbeat.
fn lease_us(facts: &str) -> i64 {
    let facts: Value = serde_json::from_str(facts).unwrap_or_default();
    facts["leaseMs"].as_i64().unwrap_or_default().saturating_mul(1_000)
}
