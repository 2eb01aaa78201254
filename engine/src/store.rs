//! What a worker process asks of the truth. [`Db`] is the truth; a simulation puts rows in memory in its place, by the same rules.
//!
//! Whoever asks for a run, cancels or abandons one does so in a transaction of their own: see [`crate::runs`].

mod patient;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use entities::run;
use serde_json::Value;

pub use self::patient::patient;
use crate::{
    db::{Db, DbErr, Use},
    ids::{RunId, WorkerId},
    leases::{self, LeaseSettings},
    runs::{
        self, Loaded, NewLogLine, Op, RunsError, Written,
        due::{self, Look, Place},
    },
    slots::{
        self, Demand,
        turn::{self, Granted, Wishes},
    },
};

/// What a sweep came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// This process is the one that sweeps now: it looks for runs that are due.
    pub mine: bool,
    /// This process is the one that forgets what is too old.
    pub forget: bool,
    /// The lapsed workers that it ended.
    pub ended: Vec<WorkerId>,
}

/// The truth, as a worker process asks it. Each method is one transaction: its effect is there as a whole, or not at all. After an error either
/// may be so.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// A connection of its own to the same rows.
    async fn another(&self, purpose: Use) -> Result<Arc<dyn Store>, DbErr>;

    /// The clock that compared times are of, in microseconds.
    async fn now(&self) -> Result<i64, DbErr>;

    /// Commits writes, no two of them to one run. Whoever is missing from the answer was refused.
    async fn commit(&self, ops: &[&Op]) -> Result<Vec<Written>, DbErr>;

    /// A run's row.
    async fn row(&self, run: RunId) -> Result<Option<run::Model>, DbErr>;

    /// A run with its folded journal.
    async fn load(&self, run: RunId) -> Result<Option<Loaded>, RunsError>;

    /// See [`due::look`].
    async fn look(&self, from: Place, limit: u64) -> Result<Look, DbErr>;

    /// See [`due::next_of_deployment`].
    async fn next_of_deployment(&self, deployment: &str) -> Result<Option<RunId>, DbErr>;

    /// See [`due::held_by`].
    async fn held_by(&self, worker: WorkerId) -> Result<Vec<RunId>, DbErr>;

    /// See [`due::cancels`].
    async fn cancels(&self, worker: WorkerId) -> Result<Vec<(RunId, String)>, DbErr>;

    /// See [`due::sweep`].
    async fn sweep(&self, always: bool, period_us: i64, forget_every_us: i64) -> Result<Swept, DbErr>;

    /// See [`turn::take`].
    async fn turn(
        &self,
        pool: &str,
        worker: WorkerId,
        settings: &LeaseSettings,
        wishes: &Wishes,
    ) -> Result<Granted, DbErr>;

    /// Whether the slot is held right now, by the database's clock.
    async fn holds(&self, demand: &Demand) -> Result<bool, DbErr>;

    /// Adds a worker, with a lease from now on. The one that its process was `before` has come back.
    async fn register(
        &self,
        worker: WorkerId,
        before: Option<WorkerId>,
        name: &str,
        facts: &Value,
        lease_us: i64,
    ) -> Result<(), DbErr>;

    /// Those of these workers that have come back.
    async fn came_back(&self, workers: &[WorkerId]) -> Result<Vec<WorkerId>, DbErr>;

    /// Whether the lease was renewed; false when it had lapsed or somebody had ended this worker.
    async fn renew(&self, worker: WorkerId, lease_us: i64) -> Result<bool, DbErr>;

    /// Whether somebody asked this worker to drain.
    async fn is_to_drain(&self, worker: WorkerId) -> Result<bool, DbErr>;

    /// Says that this worker drains, since now if nobody asked for it before.
    async fn drains(&self, worker: WorkerId) -> Result<(), DbErr>;

    /// Ends a worker, for good.
    async fn end(&self, worker: WorkerId) -> Result<(), DbErr>;

    /// Adds log lines. Those of an epoch that is over are dropped, those that are there already are left as they are.
    async fn log(&self, lines: &[NewLogLine]) -> Result<(), DbErr>;
}

impl From<Db> for Arc<dyn Store> {
    fn from(db: Db) -> Self {
        Arc::new(db)
    }
}

#[async_trait]
impl Store for Db {
    async fn another(&self, purpose: Use) -> Result<Arc<dyn Store>, DbErr> {
        Ok(Arc::new(self.also(purpose).await?))
    }

    async fn now(&self) -> Result<i64, DbErr> {
        Self::now(self).await
    }

    async fn commit(&self, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
        runs::commit(self, ops).await
    }

    async fn row(&self, run: RunId) -> Result<Option<run::Model>, DbErr> {
        runs::read::row(self.pool(), run).await
    }

    async fn load(&self, run: RunId) -> Result<Option<Loaded>, RunsError> {
        runs::load(self.pool(), run).await
    }

    async fn look(&self, from: Place, limit: u64) -> Result<Look, DbErr> {
        due::look(self, from, limit).await
    }

    async fn next_of_deployment(&self, deployment: &str) -> Result<Option<RunId>, DbErr> {
        due::next_of_deployment(self, deployment).await
    }

    async fn held_by(&self, worker: WorkerId) -> Result<Vec<RunId>, DbErr> {
        due::held_by(self, worker).await
    }

    async fn cancels(&self, worker: WorkerId) -> Result<Vec<(RunId, String)>, DbErr> {
        due::cancels(self, worker).await
    }

    async fn sweep(&self, always: bool, period_us: i64, forget_every_us: i64) -> Result<Swept, DbErr> {
        due::sweep(self, always, period_us, forget_every_us).await
    }

    async fn turn(
        &self,
        pool: &str,
        worker: WorkerId,
        settings: &LeaseSettings,
        wishes: &Wishes,
    ) -> Result<Granted, DbErr> {
        turn::take(self, pool, worker, settings, wishes).await
    }

    async fn holds(&self, demand: &Demand) -> Result<bool, DbErr> {
        slots::holds(self, demand).await
    }

    async fn register(
        &self,
        worker: WorkerId,
        before: Option<WorkerId>,
        name: &str,
        facts: &Value,
        lease_us: i64,
    ) -> Result<(), DbErr> {
        leases::rows::register(self, worker, before, name, facts, lease_us).await
    }

    async fn came_back(&self, workers: &[WorkerId]) -> Result<Vec<WorkerId>, DbErr> {
        leases::rows::came_back(self, workers).await
    }

    async fn renew(&self, worker: WorkerId, lease_us: i64) -> Result<bool, DbErr> {
        leases::rows::renew(self, worker, lease_us).await
    }

    async fn is_to_drain(&self, worker: WorkerId) -> Result<bool, DbErr> {
        leases::rows::is_to_drain(self, worker).await
    }

    async fn drains(&self, worker: WorkerId) -> Result<(), DbErr> {
        let tx = self.begin().await?;
        leases::drain(&tx, worker).await?;
        tx.commit().await
    }

    async fn end(&self, worker: WorkerId) -> Result<(), DbErr> {
        leases::rows::end(self, worker).await
    }

    async fn log(&self, lines: &[NewLogLine]) -> Result<(), DbErr> {
        runs::log::insert(self, lines).await
    }
}
