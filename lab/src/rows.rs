//! The truth in memory: what SQL promises to the engine, written again, plainly. A test gives the same work to these rows and to a real database,
//! and compares every answer.
//!
//! * `journal`: requests, claims, appends, cancels. `line`: one turn for slots. `workers`: leases, and what sweeps find.
//!
//! Every method is one transaction at the time that it is given. One check can be switched off, to see that the simulator finds out.

mod journal;
mod line;
mod workers;

use std::{collections::BTreeMap, fmt, str::FromStr};

use engine::journal::Event;
use entities::{pool_holder, pool_waiter, run};

use crate::history::Record;

/// A check that is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Appends are accepted under any epoch, and of ended workers.
    Epoch,
    /// Appends are accepted whatever their writer knows of the journal: what is delivered twice is written twice.
    Journal,
    /// Slots are granted whatever the limit.
    Slots,
    /// A run is claimed whatever runs of its deployment are before it.
    Order,
}

impl Break {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Epoch, Self::Journal, Self::Slots, Self::Order];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Journal => "journal",
            Self::Slots => "slots",
            Self::Order => "order",
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Break {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = Self::ALL.into_iter();
        all.clone()
            .find(|each| each.name() == text)
            .ok_or_else(|| format!("one of {}", all.map(Self::name).collect::<Vec<_>>().join(", ")))
    }
}

/// A run: its row and its journal.
#[derive(Clone, Debug)]
pub struct Run {
    /// The row.
    pub row: run::Model,
    /// The journal.
    pub events: Vec<Event>,
}

/// A worker's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Until when it counts as alive.
    pub lease_until: i64,
    /// When it was ended, for good.
    pub ended_at: Option<i64>,
    /// When its process was heard of again after it lost this lease.
    pub came_back_at: Option<i64>,
}

/// A pool's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// At once.
    pub limit: i64,
    /// The next waiter's place.
    pub next_ticket: i64,
    /// Slots granted so far.
    pub grants: i64,
    /// Waiters that gave up so far.
    pub timeouts: i64,
}

/// Run, step and attempt.
pub type Place = (i64, i64, i64);

/// All rows, and what was seen of them.
#[derive(Debug, Default)]
pub struct Rows {
    /// By id.
    pub runs: BTreeMap<i64, Run>,
    /// By id.
    pub workers: BTreeMap<i64, Worker>,
    /// By name.
    pub pools: BTreeMap<String, Pool>,
    /// Who stands in line.
    pub waiters: BTreeMap<Place, pool_waiter::Model>,
    /// Who has a slot.
    pub holders: BTreeMap<Place, pool_holder::Model>,
    /// The newest number of each deployment's runs.
    pub numbers: BTreeMap<String, i64>,
    /// When each chore was taken last.
    chores: BTreeMap<&'static str, i64>,
    /// What an observer sees, in order.
    pub seen: Vec<Record>,
    broken: Option<Break>,
}

impl Rows {
    /// No rows but one pool.
    pub fn new(pool: &str, limit: i64, broken: Option<Break>) -> Self {
        let mut rows = Self { broken, ..Self::default() };
        rows.pools.insert(pool.to_owned(), Pool { limit, next_ticket: 1, grants: 0, timeouts: 0 });
        rows.seen.push(Record::Limit { pool: pool.to_owned(), at: 0, limit });
        rows
    }

    /// Changes a pool's limit.
    pub fn set_limit(&mut self, now: i64, pool: &str, limit: i64) {
        if let Some(row) = self.pools.get_mut(pool) {
            row.limit = limit;
            self.seen.push(Record::Limit { pool: pool.to_owned(), at: now, limit });
        }
    }

    fn lives(&self, worker: i64) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.ended_at.is_none())
    }

    /// Nobody living holds it.
    fn is_free(&self, row: &run::Model) -> bool {
        row.worker_id.is_none_or(|worker| self.workers.get(&worker).is_some_and(|worker| worker.ended_at.is_some()))
    }

    fn is_due(row: &run::Model, now: i64) -> bool {
        row.wake_at.is_none_or(|wake_at| wake_at <= now) || row.cancel_requested_at.is_some()
    }

    fn is_first(&self, row: &run::Model) -> bool {
        self.broken == Some(Break::Order)
            || !self.runs.values().any(|other| {
                other.row.deployment_id == row.deployment_id
                    && other.row.run_no < row.run_no
                    && other.row.ended_at.is_none()
            })
    }
}
