//! The rows as one process asks them: over a connection on which anything may go wrong, before what was asked for is done, or after.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use engine::{
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
    store::{Store, Swept},
};
use entities::run;
use serde_json::Value;

use super::world::World;
use crate::rows::Rows;

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) world: Arc<World>,
    /// Which life of which process.
    pub(super) life: u64,
    pub(super) heartbeat: bool,
}

/// What goes wrong with one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Crash,
    Error,
    Hang,
}

/// How one question goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate {
    pub(super) before_ms: i64,
    pub(super) fault_before: Option<Fault>,
    pub(super) doubled: bool,
    pub(super) fault_after: Option<Fault>,
    pub(super) after_ms: i64,
}

impl World {
    /// Draws how a question goes.
    pub(super) fn fate(&self, safe: bool) -> Fate {
        let profile = self.lock().profile.clone();
        self.draw(|chance| {
            let quick = if chance.percent(60) { 0 } else { chance.between(1, 6) };
            let long = chance.in_a_million(profile.slow) && !safe;
            let before_ms = if long { chance.between(20, 700) } else { quick };
            let after_ms = if chance.percent(70) { 0 } else { chance.between(1, 6) };
            let fault = match () {
                () if safe => None,
                () if chance.in_a_million(profile.crash) => Some(Fault::Crash),
                () if chance.in_a_million(profile.error) => Some(Fault::Error),
                () if chance.in_a_million(profile.hang) => Some(Fault::Hang),
                () => None,
            };
            let (fault_before, fault_after) = if chance.percent(50) { (fault, None) } else { (None, fault) };
            Fate { before_ms, fault_before, doubled: chance.in_a_million(profile.double), fault_after, after_ms }
        })
    }

    /// The fault strikes. Only an error is ever heard of.
    pub(super) async fn strike(&self, fault: Option<Fault>, what: &str, when: &str) -> Result<(), ()> {
        let Some(fault) = fault else { return Ok(()) };
        self.tell(|| format!("FAULT {fault:?} {when} {what}"));
        match fault {
            Fault::Error => Err(()),
            Fault::Hang => std::future::pending().await,
            Fault::Crash => {
                self.kill.notify_one();
                std::future::pending().await
            }
        }
    }
}

pub(super) async fn pause(ms: i64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms.unsigned_abs())).await;
    }
}

fn broken() -> DbErr {
    DbErr::Custom("the connection was lost".to_owned())
}

impl Connection {
    async fn ask<T, E: From<DbErr>>(
        &self,
        what: &str,
        question: impl Fn(&mut Rows, i64) -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let safe = self.heartbeat && !self.world.lock().profile.heartbeats_too;
        let fate = self.world.fate(safe);
        pause(fate.before_ms).await;
        self.world.strike(fate.fault_before, what, "before").await.map_err(|()| broken())?;
        let answer = self.world.at_once(|inner, now| {
            let answer = question(&mut inner.rows, now);
            // As a driver does that sends a statement again: what it did counts twice, its answer once.
            if fate.doubled && what == "commit" {
                let _ = question(&mut inner.rows, now);
            }
            answer
        });
        self.world.strike(fate.fault_after, what, "after").await.map_err(|()| broken())?;
        pause(fate.after_ms).await;
        answer
    }
}

#[async_trait]
impl Store for Connection {
    async fn another(&self, purpose: Use) -> Result<Arc<dyn Store>, DbErr> {
        self.ask("connect", |_, _| Ok::<_, DbErr>(())).await?;
        Ok(Arc::new(Self { heartbeat: purpose == Use::Heartbeat, ..self.clone() }))
    }

    async fn now(&self) -> Result<i64, DbErr> {
        self.ask("now", |_, now| Ok(now)).await
    }

    async fn commit(&self, ops: &[&Op]) -> Result<Vec<Written>, DbErr> {
        let written = self.ask("commit", |rows, now| rows.commit(now, ops)).await;
        self.world.tell(|| {
            let each = |op: &&Op| {
                let kinds: Vec<&str> = op.events.iter().map(|event| event.kind.as_str()).collect();
                let known = format!("run {} epoch {} seq {}", op.run, op.epoch, op.seq);
                let accepted = written.as_ref().ok().map(|rows| rows.iter().any(|row| row.run == op.run));
                let answer = accepted.map_or("no answer", |yes| if yes { "accepted" } else { "refused" });
                format!("{known} step {:?} {}: {answer}", op.step, kinds.join(", "))
            };
            ops.iter().map(each).collect::<Vec<_>>().join("; ")
        });
        written
    }

    async fn row(&self, run: RunId) -> Result<Option<run::Model>, DbErr> {
        self.ask("row", |rows, _| Ok(rows.runs.get(&run.0).map(|run| run.row.clone()))).await
    }

    async fn load(&self, run: RunId) -> Result<Option<Loaded>, RunsError> {
        self.ask("load", |rows, _| rows.load(run)).await
    }

    /// The line is short: one look sees all of it.
    async fn look(&self, from: Place, limit: u64) -> Result<Look, DbErr> {
        let look =
            |runs: Vec<RunId>| Look { runs: runs.into_iter().map(|run| (run, from)).collect(), ..Look::default() };
        self.ask("look", |rows, now| Ok(look(rows.due(now, limit)))).await
    }

    /// Processes drain by the scheduler's hand alone.
    async fn is_to_drain(&self, _worker: WorkerId) -> Result<bool, DbErr> {
        Ok(false)
    }

    async fn drains(&self, _worker: WorkerId) -> Result<(), DbErr> {
        Ok(())
    }

    async fn next_of_deployment(&self, deployment: &str) -> Result<Option<RunId>, DbErr> {
        self.ask("next", |rows, _| Ok(rows.next_of_deployment(deployment))).await
    }

    async fn held_by(&self, worker: WorkerId) -> Result<Vec<RunId>, DbErr> {
        self.ask("held", |rows, _| Ok(rows.held_by(worker))).await
    }

    async fn cancels(&self, worker: WorkerId) -> Result<Vec<(RunId, String)>, DbErr> {
        self.ask("cancels", |rows, _| Ok(rows.cancels(worker))).await
    }

    async fn sweep(&self, always: bool, period_us: i64, forget_every_us: i64) -> Result<Swept, DbErr> {
        let swept = self.ask("sweep", |rows, now| Ok(rows.sweep(now, always, period_us, forget_every_us))).await;
        if let Ok(swept) = &swept
            && !swept.ended.is_empty()
        {
            self.world.tell(|| format!("ended lapsed workers {:?}", swept.ended));
        }
        swept
    }

    async fn turn(
        &self,
        pool: &str,
        worker: WorkerId,
        settings: &LeaseSettings,
        wishes: &Wishes,
    ) -> Result<Granted, DbErr> {
        let taken = self.ask("turn", |rows, now| rows.turn(now, pool, worker, settings, wishes)).await;
        if let Ok(granted) = &taken
            && !(granted.new.is_empty() && granted.timed_out.is_empty())
        {
            self.world.tell(|| format!("turn: slots to {:?}, timed out {:?}", granted.new, granted.timed_out));
        }
        taken
    }

    async fn holds(&self, demand: &Demand) -> Result<bool, DbErr> {
        self.ask("holds", |rows, now| Ok(rows.holds(now, demand))).await
    }

    async fn register(
        &self,
        worker: WorkerId,
        before: Option<WorkerId>,
        _: &str,
        _: &Value,
        lease_us: i64,
    ) -> Result<(), DbErr> {
        let registered = self
            .ask("register", |rows, now| {
                rows.register(now, worker, before, lease_us);
                Ok::<_, DbErr>(now)
            })
            .await?;
        self.world.lock().registered.push((self.life, worker.0, registered));
        self.world.tell(|| format!("registered as worker {worker}"));
        Ok(())
    }

    async fn came_back(&self, workers: &[WorkerId]) -> Result<Vec<WorkerId>, DbErr> {
        self.ask("came back", |rows, _| Ok(rows.came_back(workers))).await
    }

    async fn renew(&self, worker: WorkerId, lease_us: i64) -> Result<bool, DbErr> {
        self.ask("renew", |rows, now| Ok(rows.renew(now, worker, lease_us))).await
    }

    async fn end(&self, worker: WorkerId) -> Result<(), DbErr> {
        self.ask("end", |rows, now| {
            rows.end(now, worker);
            Ok(())
        })
        .await
    }

    async fn log(&self, _: &[NewLogLine]) -> Result<(), DbErr> {
        self.ask("log", |_, _| Ok(())).await
    }
}
