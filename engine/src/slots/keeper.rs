//! The keeper: the one task of a worker process that takes turns for all its waiters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{broadcast, mpsc, watch},
    time::Instant,
};

use super::{
    Demand, Place,
    turn::{self, Granted, Wishes},
};
use crate::{
    bell::{Bell, News},
    db::DbErr,
    ids::{RunId, WorkerId},
    leases::LeaseSettings,
    store::Store,
};

/// How often a process with waiters looks by itself, whatever bells were lost.
const LOOK: Duration = Duration::from_secs(1);
/// How long one turn may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) enum Message {
    Enter(Demand, watch::Sender<Place>),
    Leave(Demand),
    Freed(String),
}

struct Waiter {
    demand: Demand,
    place: watch::Sender<Place>,
    entered: Instant,
    deadline: Instant,
    /// Its row is written.
    registered: bool,
}

struct Keeper {
    store: Arc<dyn Store>,
    bell: Bell,
    worker: WorkerId,
    settings: LeaseSettings,
    waiters: BTreeMap<(i64, i64, i64), Waiter>,
    leaving: Vec<Demand>,
    last_look: Instant,
    /// After a turn that failed.
    not_before: Instant,
}

pub(super) async fn keep(
    store: Arc<dyn Store>,
    bell: Bell,
    worker: WorkerId,
    settings: LeaseSettings,
    mut messages: mpsc::UnboundedReceiver<Message>,
) {
    let mut news = bell.listen();
    let mut keeper = Keeper {
        store,
        bell,
        worker,
        settings,
        waiters: BTreeMap::new(),
        leaving: Vec::new(),
        last_look: Instant::now(),
        not_before: Instant::now(),
    };
    loop {
        let mut pools = BTreeSet::new();
        let next = keeper.next_look();
        tokio::select! {
            biased;
            // Before the news, which may never be silent.
            () = tokio::time::sleep_until(next) => keeper.all_pools(&mut pools),
            message = messages.recv() => {
                let Some(message) = message else { return };
                keeper.take_in(message, &mut pools);
                while let Ok(message) = messages.try_recv() {
                    keeper.take_in(message, &mut pools);
                }
            }
            heard = news.recv() => match heard {
                Ok(News::Slots(runs)) if keeper.waits_for(&runs) => keeper.all_pools(&mut pools),
                Ok(_) => continue,
                Err(broadcast::error::RecvError::Lagged(_)) => keeper.all_pools(&mut pools),
                Err(broadcast::error::RecvError::Closed) => return,
            },
        }
        for pool in pools {
            keeper.turn(&pool).await;
        }
    }
}

impl Keeper {
    fn take_in(&mut self, message: Message, pools: &mut BTreeSet<String>) {
        match message {
            Message::Enter(demand, place) => {
                let now = Instant::now();
                pools.insert(demand.pool.clone());
                let key = (demand.run.0, demand.step, demand.attempt);
                let deadline = now + demand.wait;
                self.waiters.insert(key, Waiter { demand, place, entered: now, deadline, registered: false });
            }
            Message::Leave(demand) => {
                pools.insert(demand.pool.clone());
                let key = (demand.run.0, demand.step, demand.attempt);
                if self.waiters.get(&key).is_some_and(|waiter| waiter.demand == demand) {
                    self.waiters.remove(&key);
                }
                self.leaving.push(demand);
            }
            Message::Freed(pool) => {
                pools.insert(pool);
            }
        }
    }

    fn next_look(&self) -> Instant {
        let look = self.last_look + LOOK;
        let next = match self.waiters.values().map(|waiter| waiter.deadline).min() {
            // Behind the deadline, not before it.
            Some(deadline) => {
                look.min(deadline + Duration::from_millis(1)).max(Instant::now() + Duration::from_millis(1))
            }
            None if !self.leaving.is_empty() => look.max(Instant::now() + Duration::from_millis(50)),
            None => Instant::now() + Duration::from_secs(3_600),
        };
        next.max(self.not_before)
    }

    fn all_pools(&self, pools: &mut BTreeSet<String>) {
        pools.extend(self.waiters.values().map(|waiter| waiter.demand.pool.clone()));
        pools.extend(self.leaving.iter().map(|demand| demand.pool.clone()));
    }

    fn waits_for(&self, runs: &[RunId]) -> bool {
        self.waiters.values().any(|waiter| runs.contains(&waiter.demand.run))
    }

    async fn turn(&mut self, pool: &str) {
        let now = Instant::now();
        let mine = || self.waiters.values().filter(|waiter| waiter.demand.pool == pool);
        let (leave, other): (Vec<_>, Vec<_>) = self.leaving.drain(..).partition(|demand| demand.pool == pool);
        let wishes = Wishes {
            enter: mine().filter(|waiter| !waiter.registered).map(|waiter| waiter.demand.clone()).collect(),
            last_chance: mine().filter(|waiter| waiter.deadline <= now).map(|waiter| waiter.demand.clone()).collect(),
            extend: mine()
                .filter(|waiter| waiter.registered && waiter.deadline > waiter.entered + waiter.demand.wait)
                .map(|waiter| (waiter.demand.clone(), micros(waiter.deadline.saturating_duration_since(now))))
                .collect(),
            leave,
        };
        self.leaving = other;
        let turn = self.store.turn(pool, self.worker, &self.settings, &wishes);
        let taken = tokio::time::timeout(PATIENCE, turn).await;
        match taken.unwrap_or_else(|_| Err(DbErr::Custom("the database did not answer in time".to_owned()))) {
            Ok(granted) => self.tell(pool, granted, now),
            Err(error) => {
                tracing::warn!(error = %error, pool = pool, "a turn for slots failed; the next look repeats it");
                self.leaving.extend(wishes.leave);
                let failed = Instant::now();
                self.stand_still(pool, failed);
                self.not_before = failed + LOOK;
                self.last_look = failed;
                return;
            }
        }
        self.last_look = now;
    }

    /// Nobody could be granted a slot since the last look, so nobody's window runs down for it: the database was away, or somebody stood still
    /// with the pool's lock in hand.
    fn stand_still(&mut self, pool: &str, now: Instant) {
        let since_last = now.duration_since(self.last_look);
        for waiter in self.waiters.values_mut().filter(|waiter| waiter.demand.pool == pool) {
            waiter.deadline += since_last.min(now.duration_since(waiter.entered));
        }
    }

    fn tell(&mut self, pool: &str, granted: Granted, now: Instant) {
        let holders: Vec<RunId> = granted.holders.iter().map(|holder| RunId(holder.run_id)).collect();
        let since_last = now.duration_since(self.last_look);
        self.waiters.retain(|_, waiter| {
            if waiter.demand.pool != pool {
                return true;
            }
            waiter.registered = true;
            if let Some(holder) = granted.holders.iter().find(|holder| turn::is_of(holder, &waiter.demand)) {
                waiter.place.send_replace(Place::Granted { ticket: holder.ticket });
                return false;
            }
            if granted.timed_out.contains(&waiter.demand) {
                let waited = now.duration_since(waiter.entered);
                waiter.place.send_replace(Place::TimedOut { waited, holders: holders.clone() });
                return false;
            }
            if granted.overdue {
                // The window stands still: nobody fails for a dead holder.
                let stood_still = since_last.min(now.duration_since(waiter.entered));
                waiter.deadline = (waiter.deadline + stood_still).max(now + LOOK);
            }
            waiter.place.send_if_modified(|place| {
                let first = *place == Place::Entering;
                if first {
                    *place = Place::Waiting { holders: holders.clone() };
                }
                first
            });
            true
        });
        if !granted.new.is_empty() {
            self.bell.tell(News::Slots(granted.new));
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}
