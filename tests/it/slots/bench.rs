//! Workers and runs as rows: what a semaphore looks at, without anything that drives them.

use std::{collections::BTreeSet, time::Duration};

use engine::{
    db::{Db, sql_with},
    ids::{self, RunId, WorkerId},
    leases::LeaseSettings,
    slots::Demand,
};
use entities::{pool_holder, pool_waiter, run, worker};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, Value};
use tests::{Base, Store, history};

/// The pool of the schema.
pub(super) const POOL: &str = "hooks";
/// Leases that lapse only when a test says so.
pub(super) const LEASE: LeaseSettings =
    LeaseSettings { lease_ms: 3_600_000, heartbeat_ms: 60_000, hook_grace_ms: 1_800_000 };
const HOUR: i64 = 3_600_000_000;

/// A database with workers and runs.
pub(super) struct Bench {
    pub(super) base: Base,
}

/// Holders and waiters by ticket, and what makes them count.
pub(super) struct Seen {
    pub(super) limit: usize,
    pub(super) holders: Vec<pool_holder::Model>,
    pub(super) waiters: Vec<pool_waiter::Model>,
    workers: Vec<worker::Model>,
    runs: Vec<run::Model>,
    now: i64,
}

impl Seen {
    /// Whether the run is leased at exactly this, by a worker that was neither ended nor has lapsed.
    fn counts(&self, run: i64, epoch: i64, step: i64, attempt: i64) -> bool {
        let held = self.runs.iter().find(|row| row.id == run && row.ended_at.is_none());
        held.is_some_and(|row| {
            (row.epoch, row.step, row.attempt) == (epoch, Some(step), attempt)
                && row.worker_id.is_some_and(|id| self.is_alive(id))
        })
    }

    pub(super) fn is_alive(&self, worker: i64) -> bool {
        let row = self.workers.iter().find(|row| row.id == worker);
        row.is_some_and(|row| row.ended_at.is_none() && row.lease_until >= self.now)
    }

    pub(super) fn is_ended(&self, worker: i64) -> bool {
        self.workers.iter().any(|row| row.id == worker && row.ended_at.is_some())
    }

    /// Missed two heartbeats.
    pub(super) fn is_overdue(&self, worker: i64) -> bool {
        let heard_by = self.now + 1_000 * (LEASE.lease_ms - 2 * LEASE.heartbeat_ms) as i64;
        self.workers.iter().any(|row| row.id == worker && row.lease_until < heard_by)
    }

    pub(super) fn valid_holders(&self) -> Vec<&pool_holder::Model> {
        self.holders.iter().filter(|row| self.counts(row.run_id, row.epoch, row.step, row.attempt)).collect()
    }

    pub(super) fn living_waiters(&self) -> Vec<&pool_waiter::Model> {
        self.waiters.iter().filter(|row| self.counts(row.run_id, row.epoch, row.step, row.attempt)).collect()
    }

    pub(super) fn ticket_of(&self, run: RunId) -> Option<i64> {
        let waits = self.waiters.iter().find(|row| row.run_id == run.0).map(|row| row.ticket);
        waits.or_else(|| self.holders.iter().find(|row| row.run_id == run.0).map(|row| row.ticket))
    }

    pub(super) fn holder_keys(&self) -> BTreeSet<(i64, i64)> {
        self.holders.iter().map(|row| (row.run_id, row.epoch)).collect()
    }
}

impl Bench {
    pub(super) async fn new(store: Store) -> Self {
        Self { base: Base::new(store).await }
    }

    pub(super) fn db(&self) -> &Db {
        &self.base.db
    }

    pub(super) async fn sql(&self, sql: &str, values: impl IntoIterator<Item = Value>) {
        let tx = self.db().begin().await.unwrap();
        tx.execute_raw(sql_with(&*tx, sql, values)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// As if nothing had ever happened.
    pub(super) async fn clear(&self) {
        for table in ["pool_holder", "pool_waiter", "run", "worker"] {
            self.sql(&format!("DELETE FROM {table}"), []).await;
        }
        self.sql("UPDATE pool SET slot_limit = 3, next_ticket = 1, grants = 0, timeouts = 0", []).await;
    }

    pub(super) async fn worker(&self) -> WorkerId {
        let now = self.db().now().await.unwrap();
        let row = worker::ActiveModel {
            id: Set(ids::fresh()),
            name: Set("bench".to_owned()),
            started_at: Set(now),
            lease_until: Set(now + 2 * HOUR),
            ended_at: Set(None),
            draining_since: Set(None),
            facts: Set("{}".to_owned()),
            came_back_at: Set(None),
        };
        let tx = self.db().begin().await.unwrap();
        let id = row.id.clone().unwrap();
        worker::Entity::insert(row).exec_without_returning(&*tx).await.unwrap();
        tx.commit().await.unwrap();
        WorkerId(id)
    }

    /// How long from now a worker's lease still runs, in microseconds.
    pub(super) async fn lease_runs(&self, worker: WorkerId, micros: i64) {
        let until = self.db().now().await.unwrap() + micros;
        self.sql("UPDATE worker SET lease_until = $1 WHERE id = $2", [until.into(), worker.0.into()]).await;
    }

    pub(super) async fn lapse(&self, worker: WorkerId) {
        self.lease_runs(worker, -1_000_000).await;
    }

    pub(super) async fn overdue(&self, worker: WorkerId) {
        self.lease_runs(worker, 1_000 * (LEASE.lease_ms - 3 * LEASE.heartbeat_ms) as i64).await;
    }

    pub(super) async fn healthy(&self, worker: WorkerId) {
        self.lease_runs(worker, 2 * HOUR).await;
    }

    /// A run that this worker holds, at attempt 1 of step 0.
    pub(super) async fn run(&self, worker: WorkerId, wait: Duration) -> Demand {
        let id = ids::fresh();
        let now = self.db().now().await.unwrap();
        let row = run::ActiveModel {
            id: Set(id),
            deployment_id: Set(id.to_string()),
            run_no: Set(1),
            status: Set("RUNNING".to_owned()),
            epoch: Set(1),
            seq: Set(3),
            worker_id: Set(Some(worker.0)),
            step: Set(Some(0)),
            attempt: Set(1),
            wake_at: Set(None),
            requester: Set("ada".to_owned()),
            requested_at: Set(now),
            started_at: Set(Some(now)),
            ended_at: Set(None),
            cancel_requested_at: Set(None),
            cancel_requested_by: Set(None),
        };
        let tx = self.db().begin().await.unwrap();
        run::Entity::insert(row).exec_without_returning(&*tx).await.unwrap();
        tx.commit().await.unwrap();
        Demand { run: RunId(id), epoch: 1, step: 0, attempt: 1, pool: POOL.to_owned(), wait }
    }

    /// The step's edge: the run is between steps.
    pub(super) async fn edge(&self, run: RunId) {
        self.sql("UPDATE run SET step = NULL, attempt = 0 WHERE id = $1", [run.0.into()]).await;
    }

    /// Another worker claims the run, and goes on with the same attempt.
    pub(super) async fn take_over(&self, demand: &Demand, worker: WorkerId) -> Demand {
        let sql = "UPDATE run SET epoch = epoch + 1, worker_id = $1 WHERE id = $2";
        self.sql(sql, [worker.0.into(), demand.run.0.into()]).await;
        Demand { epoch: demand.epoch + 1, ..demand.clone() }
    }

    pub(super) async fn seen(&self) -> Seen {
        let (pool, holders, waiters) = history::pool(self.db(), POOL).await;
        Seen {
            limit: usize::try_from(pool.slot_limit).unwrap(),
            holders,
            waiters,
            workers: worker::Entity::find().all(self.db().pool()).await.unwrap(),
            runs: run::Entity::find().all(self.db().pool()).await.unwrap(),
            now: self.db().now().await.unwrap(),
        }
    }
}
