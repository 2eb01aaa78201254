//! A worker's lease: one row, renewed by one small heartbeat, holds all its runs and slots together.
//!
//! A lapse is an act: whoever finds a lapsed worker ends it, and an ended worker never comes back. So a late heartbeat cannot revive what
//! somebody else already gave away.

pub(crate) mod rows;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::rows::{drain, end_lapsed, forget_old};
use crate::{
    clock,
    db::{DbErr, Use},
    ids::{self, WorkerId},
    store::Store,
};

/// The times of a lease, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseSettings {
    /// A worker that was not heard of for this long is given up.
    pub lease_ms: u64,
    /// How often it is heard of.
    pub heartbeat_ms: u64,
    /// Hooks are killed when the last confirmed heartbeat was sent this long ago: well before the lease lapses.
    pub hook_grace_ms: u64,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self { lease_ms: 10_000, heartbeat_ms: 2_000, hook_grace_ms: 6_000 }
    }
}

impl LeaseSettings {
    /// For how long after a confirmed heartbeat was sent a process counts on its lease, in nanoseconds: hooks are dead by then, and in the
    /// database it has not lapsed yet.
    fn counts_for(&self) -> i64 {
        nanos(self.hook_grace_ms.midpoint(self.lease_ms))
    }

    /// Whether the times fit together: a heartbeat may be late once, hooks are dead before the lease lapses.
    pub fn is_sound(&self) -> bool {
        2 * self.heartbeat_ms < self.hook_grace_ms && self.hook_grace_ms < self.lease_ms
    }
}

/// A lease that is being renewed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Whose.
    pub worker: WorkerId,
    /// Cancelled when the lease was lost: every run of this worker must be dropped without another write.
    pub lost: CancellationToken,
    /// Cancelled when somebody asked this worker to drain.
    pub drain: CancellationToken,
    /// The CLOCK_BOOTTIME nanoseconds until which hooks may run; moves forward with each confirmed heartbeat.
    pub hooks_until: watch::Receiver<i64>,
    /// The CLOCK_BOOTTIME nanoseconds at which this process stops counting on its lease: before it can have lapsed.
    over_at: Arc<AtomicI64>,
    store: Arc<dyn Store>,
    stop: CancellationToken,
}

impl Lease {
    /// Registers a new worker and starts its heartbeat. `before`: the worker that this process was until it lost that lease.
    ///
    /// # Errors
    /// The database's error.
    pub async fn register(
        store: &dyn Store,
        before: Option<WorkerId>,
        name: &str,
        facts: &Value,
        settings: &LeaseSettings,
    ) -> Result<Self, DbErr> {
        let own = store.another(Use::Heartbeat).await?;
        let worker = WorkerId(ids::fresh());
        let sent = clock::boottime_nanos();
        own.register(worker, before, name, facts, micros(settings.lease_ms)).await?;
        let (until, hooks_until) = watch::channel(sent + nanos(settings.hook_grace_ms));
        let over_at = Arc::new(AtomicI64::new(sent + settings.counts_for()));
        let (lost, drain) = (CancellationToken::new(), CancellationToken::new());
        let lease = Self { worker, lost, drain, hooks_until, over_at, store: own, stop: CancellationToken::new() };
        tokio::spawn(lease.clone().beat(settings.clone(), until));
        Ok(lease)
    }

    /// Whether this process must no longer count on its lease. Asked before anything is done with it: a process that was paused finds out
    /// here, before its heartbeat does.
    pub fn is_over(&self) -> bool {
        self.lost.is_cancelled() || clock::boottime_nanos() >= self.over_at.load(Ordering::Relaxed)
    }

    async fn beat(self, settings: LeaseSettings, until: watch::Sender<i64>) {
        let every = i64::try_from(settings.heartbeat_ms.max(1) * 1_000_000).unwrap_or(i64::MAX);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(self.left(every)) => {}
            }
            if self.is_over() {
                tracing::warn!(worker.id = %self.worker, "the lease is over: no heartbeat was confirmed in time");
                break;
            }
            // Its age counts from before it was sent.
            let sent = clock::boottime_nanos();
            match tokio::time::timeout(self.left(every), self.store.renew(self.worker, micros(settings.lease_ms))).await
            {
                Ok(Ok(true)) => {
                    self.over_at.store(sent + settings.counts_for(), Ordering::Relaxed);
                    until.send_replace(sent + nanos(settings.hook_grace_ms));
                    self.see_drain(every).await;
                }
                Ok(Ok(false)) => {
                    tracing::warn!(worker.id = %self.worker, "the lease was lost: this worker was given up while it was away");
                    break;
                }
                Ok(Err(error)) => tracing::warn!(worker.id = %self.worker, error = %error, "a heartbeat failed"),
                Err(_) => tracing::warn!(worker.id = %self.worker, "a heartbeat got no answer in time"),
            }
        }
        self.lost.cancel();
    }

    /// An error is no reason to do anything: the next heartbeat asks again.
    async fn see_drain(&self, every: i64) {
        if self.drain.is_cancelled() {
            return;
        }
        let asked = tokio::time::timeout(self.left(every), self.store.is_to_drain(self.worker)).await;
        if matches!(asked, Ok(Ok(true))) {
            self.drain.cancel();
        }
    }

    /// So long at most, but not beyond the end of the lease.
    fn left(&self, most: i64) -> Duration {
        let left = self.over_at.load(Ordering::Relaxed) - clock::boottime_nanos();
        Duration::from_nanos(left.clamp(0, most).unsigned_abs())
    }

    /// Says in this worker's row that it drains.
    ///
    /// # Errors
    /// The database's error: nothing depends on it.
    pub async fn drains(&self) -> Result<(), DbErr> {
        self.store.drains(self.worker).await
    }

    /// Ends this worker, after its last run was given back. Nothing waits for its lease to lapse then.
    ///
    /// # Errors
    /// The database's error; the lease then lapses by itself.
    pub async fn end(&self) -> Result<(), DbErr> {
        self.stop.cancel();
        self.store.end(self.worker).await
    }
}

pub(crate) fn micros(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX / 4)
}

fn nanos(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX / 4)
}
