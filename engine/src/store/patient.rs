//! A store that gives up waiting. A connection whose other end is gone for good answers nothing, not even an error: whoever waits for it without
//! a bound, and holds a run meanwhile, holds it for ever.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use entities::run;
use serde_json::Value;
use tokio::time::timeout;

use super::{Store, Swept};
use crate::{
    db::{DbErr, Use},
    ids::{RunId, WorkerId},
    leases::LeaseSettings,
    runs::{
        Loaded, NewLogLine, Op, RunsError, Written,
        due::{Look, Place},
    },
    slots::{
        Demand,
        turn::{Granted, Wishes},
    },
};

/// How long one question may take. Those who ask with a bound of their own ask for less.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Patient(Arc<dyn Store>);

/// The same store, within bounds.
pub fn patient(store: Arc<dyn Store>) -> Arc<dyn Store> {
    Arc::new(Patient(store))
}

async fn within<T, E: From<DbErr>>(answer: impl Future<Output = Result<T, E>> + Send) -> Result<T, E> {
    let late = || E::from(DbErr::Custom("the database did not answer in time".to_owned()));
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(late()))
}

#[async_trait]
impl Store for Patient {
    async fn another(&self, purpose: Use) -> Result<Arc<dyn Store>, DbErr> {
        within(self.0.another(purpose)).await.map(patient)
    }

    async fn now(&self) -> Result<i64, DbErr> {
        within(self.0.now()).await
    }

    async fn commit(&self, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
        within(self.0.commit(ops)).await
    }

    async fn row(&self, run: RunId) -> Result<Option<run::Model>, DbErr> {
        within(self.0.row(run)).await
    }

    async fn load(&self, run: RunId) -> Result<Option<Loaded>, RunsError> {
        within(self.0.load(run)).await
    }

    async fn look(&self, from: Place, limit: u64) -> Result<Look, DbErr> {
        within(self.0.look(from, limit)).await
    }

    async fn is_to_drain(&self, worker: WorkerId) -> Result<bool, DbErr> {
        within(self.0.is_to_drain(worker)).await
    }

    async fn drains(&self, worker: WorkerId) -> Result<(), DbErr> {
        within(self.0.drains(worker)).await
    }

    async fn next_of_deployment(&self, deployment: &str) -> Result<Option<RunId>, DbErr> {
        within(self.0.next_of_deployment(deployment)).await
    }

    async fn held_by(&self, worker: WorkerId) -> Result<Vec<RunId>, DbErr> {
        within(self.0.held_by(worker)).await
    }

    async fn cancels(&self, worker: WorkerId) -> Result<Vec<(RunId, String)>, DbErr> {
        within(self.0.cancels(worker)).await
    }

    async fn sweep(&self, always: bool, period_us: i64, forget_every_us: i64) -> Result<Swept, DbErr> {
        within(self.0.sweep(always, period_us, forget_every_us)).await
    }

    async fn turn(
        &self,
        pool: &str,
        worker: WorkerId,
        settings: &LeaseSettings,
        wishes: &Wishes,
    ) -> Result<Granted, DbErr> {
        within(self.0.turn(pool, worker, settings, wishes)).await
    }

    async fn holds(&self, demand: &Demand) -> Result<bool, DbErr> {
        within(self.0.holds(demand)).await
    }

    async fn register(
        &self,
        worker: WorkerId,
        before: Option<WorkerId>,
        name: &str,
        facts: &Value,
        lease_us: i64,
    ) -> Result<(), DbErr> {
        within(self.0.register(worker, before, name, facts, lease_us)).await
    }

    async fn came_back(&self, workers: &[WorkerId]) -> Result<Vec<WorkerId>, DbErr> {
        within(self.0.came_back(workers)).await
    }

    async fn renew(&self, worker: WorkerId, lease_us: i64) -> Result<bool, DbErr> {
        within(self.0.renew(worker, lease_us)).await
    }

    async fn end(&self, worker: WorkerId) -> Result<(), DbErr> {
        within(self.0.end(worker)).await
    }

    async fn log(&self, lines: &[NewLogLine]) -> Result<(), DbErr> {
        within(self.0.log(lines)).await
    }
}
