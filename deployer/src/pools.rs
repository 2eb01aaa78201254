//! The pools of slots, as people see them: the numbers are public, whose they are is not.
//!
//! A holder's row is a slot in use only while its run is leased at exactly this epoch, step and attempt and its worker has not ended; the same holds
//! for a waiter. Rows that are left over free themselves at the next turn.

use std::collections::BTreeSet;

use engine::{
    db::{clock_sql, sql_with},
    ids::RunId,
};
use entities::{deployment, pool};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    rights::{self, Access},
    text,
    viewer::Viewer,
};

/// The pool of deployment hooks.
pub const HOOKS: &str = "hooks";
const LIMITS: std::ops::RangeInclusive<i32> = 1..=1_000;

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Such as `hooks`.
    pub name: String,
    /// Slots at once.
    pub limit: i32,
    /// Slots in use.
    pub live_holders: u64,
    /// Rows of holders. More than [`Pool::live_holders`] for the moment until the next turn alone.
    pub slots_held: u64,
    /// Attempts in line.
    pub waiting: u64,
    /// Slots granted so far.
    pub grants: i64,
    /// Waiters that gave up so far.
    pub timeouts: i64,
    /// The slots in use whose deployments the viewer may see; the others are in the numbers alone.
    pub holders: Vec<Holder>,
    /// The attempts in line whose deployments the viewer may see; the others are in the numbers alone.
    pub waiters: Vec<Waiter>,
}

/// A slot in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The update.
    pub run: RunId,
    /// Its deployment.
    pub deployment_id: String,
    /// When, in µs since the Unix epoch.
    pub granted_at: i64,
}

/// An attempt in line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The update.
    pub run: RunId,
    /// Its deployment.
    pub deployment_id: String,
    /// From 1, over all that wait.
    pub position: u64,
    /// µs since the Unix epoch.
    pub since: i64,
    /// µs since the Unix epoch, as far as known: it moves while a holder's worker is overdue.
    pub deadline: i64,
}

/// A row of either table, with its run's deployment.
struct Row {
    run: RunId,
    deployment_id: String,
    times: (i64, i64),
}

/// A pool, or None when there is none of this name.
///
/// # Errors
/// The database's.
pub async fn get(deployer: &Deployer, viewer: &Viewer, name: &str) -> Result<Option<Pool>> {
    let db = deployer.db.pool();
    if !text::storable(name) {
        return Ok(None);
    }
    let Some(row) = pool::Entity::find_by_id(name).one(db).await? else { return Ok(None) };
    let slots_held = count(db, name).await?;
    let holders = valid(db, "pool_holder", "t.granted_at, t.granted_at AS until", name).await?;
    let waiters = valid(db, "pool_waiter", "t.since AS granted_at, t.deadline AS until", name).await?;
    let seen = visible(db, viewer, holders.iter().chain(&waiters)).await?;
    let live_holders = holders.len() as u64;
    Ok(Some(Pool {
        name: row.name,
        limit: row.slot_limit,
        live_holders,
        // The two are read one after the other: never less than what was seen to be valid.
        slots_held: slots_held.max(live_holders),
        waiting: waiters.len() as u64,
        grants: row.grants,
        timeouts: row.timeouts,
        holders: holders
            .into_iter()
            .filter(|row| seen.contains(&row.deployment_id))
            .map(|row| Holder { run: row.run, deployment_id: row.deployment_id, granted_at: row.times.0 })
            .collect(),
        waiters: (1u64..)
            .zip(waiters)
            .filter(|(_, row)| seen.contains(&row.deployment_id))
            .map(|(position, row)| Waiter {
                run: row.run,
                deployment_id: row.deployment_id,
                position,
                since: row.times.0,
                deadline: row.times.1,
            })
            .collect(),
    }))
}

/// Changes a pool's limit. Lowering it ends nothing: slots in use stay until they are given back. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `LIMIT_INVALID`.
pub async fn set_limit(deployer: &Deployer, viewer: &Viewer, name: &str, limit: i32) -> Result<Pool> {
    let act = Act::new(deployer, viewer, "setHookLimit", Object::new(ObjectKind::Pool, name));
    act.once(set_once(deployer, viewer, name, limit, &act)).await
}

async fn set_once(deployer: &Deployer, viewer: &Viewer, name: &str, limit: i32, act: &Act<'_>) -> Result<Pool> {
    rights::require_global_admin(viewer)?;
    if !LIMITS.contains(&limit) {
        let (least, most) = LIMITS.into_inner();
        return Err(Error::field("LIMIT_INVALID", "limit", format!("Give a limit of {least} to {most}.")));
    }
    if !text::storable(name) {
        return Err(Error::not_found("name"));
    }
    let tx = deployer.db.begin().await?;
    if !tx.lock("pool", "name = $1", name).await? {
        return Err(Error::not_found("name"));
    }
    act.before(&tx).await?;
    pool::Entity::update_many()
        .col_expr(pool::Column::SlotLimit, limit.into())
        .filter(pool::Column::Name.eq(name))
        .exec(&*tx)
        .await?;
    act.commit(tx).await?;
    tracing::info!(pool = name, limit, by = viewer.login, "limit of a pool changed");
    get(deployer, viewer, name).await?.ok_or_else(|| Error::not_found("name"))
}

async fn count<C: ConnectionTrait>(db: &C, pool: &str) -> Result<u64> {
    let sql = "SELECT COUNT(*) AS n FROM pool_holder WHERE pool = $1";
    let row = db.query_one_raw(sql_with(db, sql, [pool.into()])).await?;
    let n: i64 = row.map(|row| row.try_get("", "n")).transpose()?.unwrap_or_default();
    Ok(n.unsigned_abs())
}

/// The rows that count, in order of their tickets.
async fn valid<C: ConnectionTrait>(db: &C, table: &str, times: &str, pool: &str) -> Result<Vec<Row>> {
    // Of a worker that was not heard of in time nothing is valid, although nobody has ended it yet.
    let clock = clock_sql(db.get_database_backend());
    let sql = format!(
        "SELECT t.run_id, r.deployment_id, {times} FROM {table} t JOIN run r ON r.id = t.run_id \
         JOIN worker w ON w.id = r.worker_id \
         WHERE t.pool = $1 AND r.epoch = t.epoch AND r.step = t.step AND r.attempt = t.attempt \
         AND r.ended_at IS NULL AND w.ended_at IS NULL AND w.lease_until > {clock} ORDER BY t.ticket"
    );
    let rows = db.query_all_raw(sql_with(db, sql, [pool.into()])).await?;
    let row = |row: sea_orm::QueryResult| {
        Ok(Row {
            run: RunId(row.try_get("", "run_id")?),
            deployment_id: row.try_get("", "deployment_id")?,
            times: (row.try_get("", "granted_at")?, row.try_get("", "until")?),
        })
    };
    rows.into_iter().map(row).collect()
}

async fn visible<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    rows: impl Iterator<Item = &Row>,
) -> Result<BTreeSet<String>> {
    let ids: BTreeSet<_> = rows.map(|row| row.deployment_id.clone()).collect();
    let seen: Vec<String> = deployment::Entity::find()
        .select_only()
        .column(deployment::Column::Id)
        .filter(deployment::Column::Id.is_in(ids))
        .filter(rights::deployments_where(viewer, Access::See))
        .into_tuple()
        .all(db)
        .await?;
    Ok(seen.into_iter().collect())
}
