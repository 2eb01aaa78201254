//! One turn: a short transaction under the pool's lock. End what lapsed, forget what is not valid, register who came, grant by ticket.

use entities::{pool, pool_holder, pool_waiter};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, sea_query::OnConflict,
};

use super::Demand;
use crate::{
    db::{Db, Tx, sql_with},
    ids::{RunId, WorkerId},
    leases::{self, LeaseSettings, micros},
};

/// What this process wants of a turn.
#[derive(Debug, Default)]
pub struct Wishes {
    /// Attempts that come in, or whose window begins anew.
    pub enter: Vec<Demand>,
    /// Attempts that give up their place, whatever it is.
    pub leave: Vec<Demand>,
    /// Attempts that leave if this turn does not grant them a slot.
    pub last_chance: Vec<Demand>,
    /// New ends of windows, in microseconds from now.
    pub extend: Vec<(Demand, i64)>,
}

/// What a turn came to.
#[derive(Debug, Default)]
pub struct Granted {
    /// All holders after it.
    pub holders: Vec<pool_holder::Model>,
    /// The runs that were granted a slot in it, of any process.
    pub new: Vec<RunId>,
    /// The attempts that timed out.
    pub timed_out: Vec<Demand>,
    /// A holder's worker has not been heard of lately: nobody's window runs down meanwhile.
    pub overdue: bool,
}

/// Takes a turn.
///
/// # Errors
/// The database's error; nothing has changed then.
pub async fn take(
    db: &Db,
    name: &str,
    worker: WorkerId,
    settings: &LeaseSettings,
    wishes: &Wishes,
) -> Result<Granted, DbErr> {
    let tx = db.begin().await?;
    // A statement of its own: counting in the same one would count on the snapshot from before the wait, and over-grant.
    tx.lock("pool", "name = $1", name).await?;
    let now = tx.now().await?;
    leases::end_lapsed(&tx).await?;
    let row = pool::Entity::find_by_id(name).one(&*tx).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound(format!("the pool {name}")))?;
    let mut next_ticket = row.next_ticket;

    for demand in &wishes.leave {
        forget_waiter(&tx, demand).await?;
        forget_holder(&tx, demand).await?;
    }
    for demand in &wishes.enter {
        enter(&tx, worker, now, demand, &mut next_ticket).await?;
    }
    for (demand, from_now) in &wishes.extend {
        let sql = "UPDATE pool_waiter SET deadline = $1 WHERE run_id = $2 AND step = $3 AND attempt = $4";
        let values = [(now + from_now).into(), demand.run.0.into(), demand.step.into(), demand.attempt.into()];
        tx.execute_raw(sql_with(&*tx, sql, values)).await?;
    }
    forget_invalid(&tx, name, now).await?;

    let mut result = Granted { holders: holders(&tx, name).await?, ..Granted::default() };
    let free = usize::try_from(row.slot_limit).unwrap_or(0).saturating_sub(result.holders.len());
    for waiter in first_in_line(&tx, name, free).await? {
        result.new.push(RunId(waiter.run_id));
        result.holders.push(grant(&tx, now, waiter).await?);
    }
    result.overdue = overdue(&tx, now, settings, &result.holders).await?;
    if !result.overdue {
        for demand in &wishes.last_chance {
            if !result.holders.iter().any(|holder| is_of(holder, demand)) {
                forget_waiter(&tx, demand).await?;
                result.timed_out.push(demand.clone());
            }
        }
    }
    let (grants, timeouts) = (result.new.len() as i64, result.timed_out.len() as i64);
    if next_ticket != row.next_ticket || grants + timeouts > 0 {
        let sql = "UPDATE pool SET next_ticket = $1, grants = grants + $2, timeouts = timeouts + $3 WHERE name = $4";
        let values = [next_ticket.into(), grants.into(), timeouts.into(), name.into()];
        tx.execute_raw(sql_with(&*tx, sql, values)).await?;
    }
    tx.commit().await?;
    Ok(result)
}

/// Whether this holder's row is this attempt's, under this epoch.
pub(super) fn is_of(holder: &pool_holder::Model, demand: &Demand) -> bool {
    (holder.run_id, holder.step, holder.attempt, holder.epoch)
        == (demand.run.0, demand.step, demand.attempt, demand.epoch)
}

/// A takeover keeps its ticket, whether it waited or held, and starts its window anew.
async fn enter(tx: &Tx, worker: WorkerId, now: i64, demand: &Demand, next_ticket: &mut i64) -> Result<(), DbErr> {
    let key = (demand.run.0, demand.step, demand.attempt);
    let held = pool_holder::Entity::find_by_id(key).one(&**tx).await?;
    if held.as_ref().is_some_and(|holder| is_of(holder, demand)) {
        return Ok(());
    }
    let waits = pool_waiter::Entity::find_by_id(key).one(&**tx).await?;
    // A process that was paused comes with what it wanted before somebody took its run over.
    if held.as_ref().is_some_and(|holder| holder.epoch > demand.epoch)
        || waits.as_ref().is_some_and(|waiter| waiter.epoch > demand.epoch)
    {
        return Ok(());
    }
    let kept = waits.map(|waiter| waiter.ticket).or(held.map(|holder| holder.ticket));
    let ticket = kept.unwrap_or_else(|| {
        *next_ticket += 1;
        *next_ticket - 1
    });
    forget_holder(tx, demand).await?;
    let row = pool_waiter::ActiveModel {
        run_id: Set(demand.run.0),
        step: Set(demand.step),
        attempt: Set(demand.attempt),
        pool: Set(demand.pool.clone()),
        ticket: Set(ticket),
        epoch: Set(demand.epoch),
        worker_id: Set(worker.0),
        since: Set(now),
        deadline: Set(now.saturating_add(micros(u64::try_from(demand.wait.as_millis()).unwrap_or(u64::MAX)))),
    };
    use pool_waiter::Column as C;
    let anew = OnConflict::columns([C::RunId, C::Step, C::Attempt])
        .update_columns([C::Epoch, C::WorkerId, C::Since, C::Deadline])
        .to_owned();
    pool_waiter::Entity::insert(row).on_conflict(anew).exec_without_returning(&**tx).await?;
    Ok(())
}

async fn forget_waiter(tx: &Tx, demand: &Demand) -> Result<(), DbErr> {
    let sql = "DELETE FROM pool_waiter WHERE run_id = $1 AND step = $2 AND attempt = $3 AND epoch = $4";
    let values = [demand.run.0.into(), demand.step.into(), demand.attempt.into(), demand.epoch.into()];
    tx.execute_raw(sql_with(&**tx, sql, values)).await.map(drop)
}

async fn forget_holder(tx: &Tx, demand: &Demand) -> Result<(), DbErr> {
    let sql = "DELETE FROM pool_holder WHERE run_id = $1 AND step = $2 AND attempt = $3 AND epoch <= $4";
    let values = [demand.run.0.into(), demand.step.into(), demand.attempt.into(), demand.epoch.into()];
    tx.execute_raw(sql_with(&**tx, sql, values)).await.map(drop)
}

/// Holders whose run moved on, or whose worker ended; waiters whose run moved on. What an ended worker waited for or held keeps its ticket, as a
/// waiter, until whoever takes the run over enters for it.
async fn forget_invalid(tx: &Tx, name: &str, now: i64) -> Result<(), DbErr> {
    let sql = "INSERT INTO pool_waiter (run_id, step, attempt, pool, ticket, epoch, worker_id, since, deadline)
SELECT h.run_id, h.step, h.attempt, h.pool, h.ticket, h.epoch, h.worker_id, $2, $2 FROM pool_holder h
  JOIN run r ON r.id = h.run_id JOIN worker w ON w.id = h.worker_id
  WHERE h.pool = $1 AND r.step = h.step AND r.attempt = h.attempt AND r.ended_at IS NULL
    AND (w.ended_at IS NOT NULL OR r.worker_id IS NULL OR r.epoch <> h.epoch)
ON CONFLICT (run_id, step, attempt) DO NOTHING";
    tx.execute_raw(sql_with(&**tx, sql, [name.into(), now.into()])).await?;
    let sql = "DELETE FROM pool_holder WHERE pool = $1 AND NOT EXISTS (
  SELECT 1 FROM run r JOIN worker w ON w.id = r.worker_id WHERE r.id = pool_holder.run_id AND r.epoch = pool_holder.epoch
    AND r.step = pool_holder.step AND r.attempt = pool_holder.attempt AND r.ended_at IS NULL AND w.ended_at IS NULL)";
    tx.execute_raw(sql_with(&**tx, sql, [name.into()])).await?;
    let sql = "DELETE FROM pool_waiter WHERE pool = $1 AND NOT EXISTS (
  SELECT 1 FROM run r WHERE r.id = pool_waiter.run_id AND r.step = pool_waiter.step AND r.attempt = pool_waiter.attempt
    AND r.ended_at IS NULL)";
    tx.execute_raw(sql_with(&**tx, sql, [name.into()])).await.map(drop)
}

async fn holders(tx: &Tx, name: &str) -> Result<Vec<pool_holder::Model>, DbErr> {
    pool_holder::Entity::find()
        .filter(pool_holder::Column::Pool.eq(name))
        .order_by_asc(pool_holder::Column::Ticket)
        .all(&**tx)
        .await
}

/// The next waiters by ticket whose run is held by somebody living, who waits for exactly this.
async fn first_in_line(tx: &Tx, name: &str, free: usize) -> Result<Vec<pool_waiter::Model>, DbErr> {
    if free == 0 {
        return Ok(Vec::new());
    }
    // Columns by name: one that a later version adds must not change what a prepared statement answers.
    let sql = "SELECT q.run_id, q.step, q.attempt, q.pool, q.ticket, q.epoch, q.worker_id, q.since, q.deadline FROM pool_waiter q JOIN run r ON r.id = q.run_id JOIN worker w ON w.id = r.worker_id
WHERE q.pool = $1 AND r.epoch = q.epoch AND r.step = q.step AND r.attempt = q.attempt AND r.ended_at IS NULL AND w.ended_at IS NULL
ORDER BY q.ticket LIMIT $2";
    let statement = sql_with(&**tx, sql, [name.into(), (free as i64).into()]);
    pool_waiter::Entity::find().from_raw_sql(statement).all(&**tx).await
}

async fn grant(tx: &Tx, now: i64, waiter: pool_waiter::Model) -> Result<pool_holder::Model, DbErr> {
    let holder = pool_holder::Model {
        run_id: waiter.run_id,
        step: waiter.step,
        attempt: waiter.attempt,
        pool: waiter.pool,
        ticket: waiter.ticket,
        epoch: waiter.epoch,
        worker_id: waiter.worker_id,
        granted_at: now,
    };
    pool_waiter::Entity::delete_by_id((waiter.run_id, waiter.step, waiter.attempt)).exec(&**tx).await?;
    pool_holder::Entity::insert(pool_holder::ActiveModel::from(holder.clone())).exec_without_returning(&**tx).await?;
    Ok(holder)
}

/// Whether a holder's worker missed two heartbeats.
async fn overdue(tx: &Tx, now: i64, settings: &LeaseSettings, holders: &[pool_holder::Model]) -> Result<bool, DbErr> {
    if holders.is_empty() {
        return Ok(false);
    }
    let heard_by = now + micros(settings.lease_ms) - 2 * micros(settings.heartbeat_ms);
    let workers: Vec<i64> = holders.iter().map(|holder| holder.worker_id).collect();
    let late = entities::worker::Entity::find()
        .filter(entities::worker::Column::Id.is_in(workers))
        .filter(entities::worker::Column::LeaseUntil.lt(heard_by))
        .one(&**tx)
        .await?;
    Ok(late.is_some())
}
