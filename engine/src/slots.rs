//! The distributed semaphore. It lives where the truth lives: a pool is a row, a waiter is a row with a ticket, a holder is a row that is
//! valid only while its run is leased at exactly this epoch, step and attempt. So the step's edge is the release, and nothing can leak.
//!
//! * [`Slots`]: what a step uses: enter, wait, leave.
//! * [`turn`]: one short transaction, all that is ready in this process together.

mod keeper;
pub mod turn;

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait, DbErr};
use tokio::sync::{mpsc, watch};

use crate::{
    bell::Bell,
    db::{Db, sql_with},
    ids::{RunId, WorkerId},
    leases::LeaseSettings,
    store::Store,
};

/// One attempt that needs a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The run.
    pub run: RunId,
    /// Under which it is held.
    pub epoch: i64,
    /// The step's index.
    pub step: i64,
    /// The attempt.
    pub attempt: i64,
    /// The pool.
    pub pool: String,
    /// How long it may wait.
    pub wait: Duration,
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its first turn has not come yet.
    Entering,
    /// In line, behind these holders.
    Waiting {
        /// The runs that hold the slots.
        holders: Vec<RunId>,
    },
    /// It may act.
    Granted {
        /// The place it had.
        ticket: i64,
    },
    /// The window is over.
    TimedOut {
        /// How long it waited.
        waited: Duration,
        /// The runs that hold the slots.
        holders: Vec<RunId>,
    },
    /// Nobody keeps the line any more: this process is at its end.
    Gone,
}

/// An attempt in line. Dropping it leaves the line; a slot that was granted is released by the step's edge.
#[derive(Debug)]
pub struct Entry {
    demand: Demand,
    place: watch::Receiver<Place>,
    keeper: mpsc::UnboundedSender<keeper::Message>,
}

impl Entry {
    /// Waits until the place is another one than [`Place::Entering`].
    pub async fn first(&mut self) -> Place {
        self.wait_for(|place| *place != Place::Entering).await
    }

    /// Waits until it was granted or has timed out.
    pub async fn settled(&mut self) -> Place {
        self.wait_for(|place| matches!(place, Place::Granted { .. } | Place::TimedOut { .. })).await
    }

    async fn wait_for(&mut self, condition: impl FnMut(&Place) -> bool) -> Place {
        match self.place.wait_for(condition).await {
            Ok(place) => place.clone(),
            Err(_) => Place::Gone,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !matches!(*self.place.borrow(), Place::Granted { .. } | Place::TimedOut { .. }) {
            let _ = self.keeper.send(keeper::Message::Leave(self.demand.clone()));
        }
    }
}

/// A handle on this process's keeper of slots.
#[derive(Clone, Debug)]
pub struct Slots {
    keeper: mpsc::UnboundedSender<keeper::Message>,
    store: Arc<dyn Store>,
}

impl Slots {
    /// Starts the keeper for one worker. It ends when the last handle is gone.
    pub fn start(store: impl Into<Arc<dyn Store>>, bell: Bell, worker: WorkerId, settings: LeaseSettings) -> Self {
        let store = store.into();
        // Bounded by the seats: one attempt a run.
        let (keeper, messages) = mpsc::unbounded_channel();
        tokio::spawn(keeper::keep(Arc::clone(&store), bell, worker, settings, messages));
        Self { keeper, store }
    }

    /// Enters the line.
    pub fn enter(&self, demand: Demand) -> Entry {
        let (sender, place) = watch::channel(Place::Entering);
        let _ = self.keeper.send(keeper::Message::Enter(demand.clone(), sender));
        Entry { demand, place, keeper: self.keeper.clone() }
    }

    /// Says that an edge was committed which freed a slot of this pool: whoever is next gets it now, not at the next look.
    pub fn freed(&self, pool: &str) {
        let _ = self.keeper.send(keeper::Message::Freed(pool.to_owned()));
    }

    /// Whether the slot is held right now, by the database's clock: asked once more immediately before a hook is spawned.
    ///
    /// # Errors
    /// The database's error.
    pub async fn holds(&self, demand: &Demand) -> Result<bool, DbErr> {
        self.store.holds(demand).await
    }
}

pub(crate) async fn holds(db: &Db, demand: &Demand) -> Result<bool, DbErr> {
    let clock = crate::db::clock_sql(db.pool().get_database_backend());
    let sql = format!(
        "SELECT 1 FROM pool_holder h JOIN run r ON r.id = h.run_id JOIN worker w ON w.id = r.worker_id
WHERE h.run_id = $1 AND h.step = $2 AND h.attempt = $3 AND h.epoch = $4 AND h.pool = $5
  AND r.epoch = h.epoch AND r.step = h.step AND r.attempt = h.attempt AND r.ended_at IS NULL
  AND w.ended_at IS NULL AND w.lease_until > {clock}"
    );
    let values = [
        demand.run.0.into(),
        demand.step.into(),
        demand.attempt.into(),
        demand.epoch.into(),
        demand.pool.as_str().into(),
    ];
    Ok(db.pool().query_one_raw(sql_with(db.pool(), sql, values)).await?.is_some())
}
