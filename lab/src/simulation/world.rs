//! What all processes of a simulation share: the rows, the node, the hooks' supervisors, one clock that only goes forward, and chance.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use engine::clock::simulated::Source;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{chance::Chance, profile::Profile};
use crate::{history::Record, rows::Rows};

/// Some moment in 2026.
pub(super) const BEGIN_US: i64 = 1_790_000_000_000_000;

/// The process that runs now, on this thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) process: usize,
    /// The runtime's first instant, and what the world's clock said then.
    pub(super) epoch: Instant,
    pub(super) base_us: i64,
    /// How far its wall clock is off.
    pub(super) off_us: i64,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// Says who runs from now on; None is the world itself.
pub(super) fn now_runs(current: Option<Current>) {
    CURRENT.with(|cell| cell.set(current));
}

/// A hook's process, under its supervisor.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) key: (i64, i64, i64),
    pub(super) from: i64,
    /// When it ends by itself.
    pub(super) ends_at: i64,
    /// The newest deadline that its supervisor was fed.
    pub(super) deadline: i64,
    /// When its end was ordered, or the control socket closed.
    pub(super) ordered_at: Option<i64>,
    pub(super) told: Option<oneshot::Sender<ActEnd>>,
}

/// How a hook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ActEnd {
    ByItself,
    AtDeadline,
    Ordered,
}

/// What the script says of one step of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    /// So many attempts fail, and are worth another.
    pub(super) fails: i64,
    /// So many looks find the node busy.
    pub(super) not_yet: i64,
    /// Then it fails for good.
    pub(super) permanent: bool,
    /// If it fails for good, nobody can tell what it did; a human looks, and it does not happen again.
    pub(super) unknown: bool,
    /// It warns.
    pub(super) warns: bool,
    /// The answers to so many calls are lost.
    pub(super) lost: i64,
    /// So many attempts take longer than they may.
    pub(super) stalls: i64,
    /// How long it takes, in milliseconds.
    pub(super) takes_ms: i64,
    /// Its driver panics, once.
    pub(super) panics: bool,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) rows: Rows,
    pub(super) profile: Profile,
    /// Where the round stands.
    pub(super) round_us: i64,
    /// Never goes back.
    stamp_us: i64,
    /// Effects on the node: when each shows.
    pub(super) effects: BTreeMap<(i64, i64), i64>,
    /// Those that are under way, with when they will show.
    pub(super) coming: Vec<(i64, (i64, i64))>,
    pub(super) acts: BTreeMap<u64, Act>,
    pub(super) next_act: u64,
    pub(super) scripts: BTreeMap<(i64, i64), Script>,
    /// Who registered, in order: the life of a process, the worker, and when.
    pub(super) registered: Vec<(u64, i64, i64)>,
    trace: Option<Vec<String>>,
}

/// The world. Everything in it happens on one thread.
#[derive(Debug)]
pub(super) struct World {
    inner: Mutex<Inner>,
    chance: Mutex<Chance>,
    /// Rung when the process that runs now is to be killed.
    pub(super) kill: Notify,
}

impl World {
    pub(super) fn new(seed: u64, rows: Rows, trace: bool) -> Arc<Self> {
        let mut chance = Chance::new(seed);
        let profile = Profile::draw(&mut chance);
        let inner = Inner {
            rows,
            profile,
            round_us: BEGIN_US,
            stamp_us: BEGIN_US,
            effects: BTreeMap::new(),
            coming: Vec::new(),
            acts: BTreeMap::new(),
            next_act: 0,
            scripts: BTreeMap::new(),
            registered: Vec::new(),
            trace: trace.then(Vec::new),
        };
        Arc::new(Self { inner: Mutex::new(inner), chance: Mutex::new(chance), kill: Notify::new() })
    }

    /// Holds no draw, and is held over no await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time of whoever runs now.
    fn local_us(&self, inner: &Inner) -> i64 {
        match CURRENT.with(Cell::get) {
            Some(current) => current.now_us(),
            None => inner.round_us,
        }
    }

    /// The world's clock: what happened later has no earlier time, whichever process it happened in. The database's clock, too.
    pub(super) fn stamp(&self, inner: &mut Inner) -> i64 {
        inner.stamp_us = inner.stamp_us.max(self.local_us(inner));
        inner.stamp_us
    }

    /// Works on the world at its own time.
    pub(super) fn at_once<T>(&self, work: impl FnOnce(&mut Inner, i64) -> T) -> T {
        let mut inner = self.lock();
        let now = self.stamp(&mut inner);
        inner.settle_node(now);
        work(&mut inner, now)
    }

    /// A line of the trace, if one is kept.
    pub(super) fn tell<T: Display>(&self, line: impl FnOnce() -> T) {
        let mut inner = self.lock();
        if inner.trace.is_none() {
            return;
        }
        // A look at the clock, not a step of it: whoever watches changes nothing.
        let now = inner.stamp_us.max(self.local_us(&inner));
        let who = CURRENT.with(Cell::get).map_or_else(|| "world".to_owned(), |current| format!("p{}", current.process));
        let at = now - BEGIN_US;
        let line = format!("{:>4}.{:06} {who:<6} {}", at / 1_000_000, at % 1_000_000, line());
        if let Some(trace) = &mut inner.trace {
            trace.push(line);
        }
    }

    pub(super) fn take_trace(&self) -> Vec<String> {
        self.lock().trace.take().unwrap_or_default()
    }
}

impl Inner {
    /// Effects that show by now.
    fn settle_node(&mut self, now: i64) {
        let (shown, coming) = self.coming.drain(..).partition(|(at, _)| *at <= now);
        self.coming = coming;
        let shown: Vec<(i64, (i64, i64))> = shown;
        for (_, key) in shown {
            if let std::collections::btree_map::Entry::Vacant(place) = self.effects.entry(key) {
                place.insert(now);
                self.rows.seen.push(Record::Effect { run: key.0, step: key.1, at: now });
            }
        }
    }
}

impl Current {
    pub(super) fn now_us(&self) -> i64 {
        let since = Instant::now().saturating_duration_since(self.epoch);
        self.base_us + i64::try_from(since.as_micros()).unwrap_or(0)
    }
}

/// Time and chance for the engine's own code.
pub(super) struct Given(pub(super) Arc<World>);

impl Source for Given {
    fn now_micros(&self) -> i64 {
        let off = CURRENT.with(Cell::get).map_or(0, |current| current.off_us);
        self.boottime_nanos() / 1_000 + off
    }

    fn boottime_nanos(&self) -> i64 {
        match CURRENT.with(Cell::get) {
            Some(current) => current.now_us() * 1_000,
            None => self.0.lock().round_us * 1_000,
        }
    }

    fn fill(&self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            let bytes = self.0.draw(Chance::next).to_ne_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
    }
}
