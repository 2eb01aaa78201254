//! The fleet's figures at `/metrics`: the same at every process, read from the database by whoever is scraped, once in a few seconds at most.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use api::health::Numbers;
use engine::{db::Db, runs::figures};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::Mutex;

/// What was read is shown again for so long.
const FRESH: Duration = Duration::from_secs(3);
/// How long a scrape waits for the database. Then it shows what was read before, and says that it is old.
const PATIENCE: Duration = Duration::from_secs(3);
/// The statuses of updates that have not ended.
const STATUSES: [&str; 4] = ["QUEUED", "RUNNING", "WAITING", "STUCK"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InStatus {
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPool {
    pool: String,
}

/// The fleet's gauges.
struct Fleet {
    db: Db,
    updates: Family<InStatus, Gauge>,
    oldest_seconds: Gauge<f64, AtomicU64>,
    workers: Gauge,
    draining: Gauge,
    limit: Family<OfPool, Gauge>,
    held: Family<OfPool, Gauge>,
    waiting: Family<OfPool, Gauge>,
    timeouts: Family<OfPool, Gauge>,
    age_seconds: Gauge<f64, AtomicU64>,
    read: Mutex<Option<Instant>>,
}

/// Adds the fleet's figures to a registry, and makes that what `/metrics` shows.
pub(crate) fn numbers(db: Db, mut registry: Registry) -> Numbers {
    let fleet = Arc::new(Fleet::register(db, &mut registry));
    let refresh: api::health::Refresh = Arc::new(move || {
        let fleet = Arc::clone(&fleet);
        Box::pin(async move { fleet.refresh().await })
    });
    Numbers { registry: Arc::new(registry), refresh: Some(refresh) }
}

impl Fleet {
    fn register(db: Db, registry: &mut Registry) -> Self {
        let fleet = Self {
            db,
            updates: Family::default(),
            oldest_seconds: Gauge::default(),
            workers: Gauge::default(),
            draining: Gauge::default(),
            limit: Family::default(),
            held: Family::default(),
            waiting: Family::default(),
            timeouts: Family::default(),
            age_seconds: Gauge::default(),
            read: Mutex::default(),
        };
        let oldest = "Age of the oldest update that no worker has taken yet and that waits for nothing else";
        registry.register("slipway_fleet_updates", "Updates that have not ended, by status", fleet.updates.clone());
        registry.register("slipway_fleet_oldest_waiting_seconds", oldest, fleet.oldest_seconds.clone());
        registry.register("slipway_fleet_workers", "Workers whose leases hold", fleet.workers.clone());
        registry.register("slipway_fleet_workers_draining", "Those of them that drain", fleet.draining.clone());
        registry.register("slipway_fleet_slots_limit", "Slots at once", fleet.limit.clone());
        registry.register("slipway_fleet_slots_held", "Slots in use", fleet.held.clone());
        registry.register("slipway_fleet_slots_waiting", "Attempts in line for a slot", fleet.waiting.clone());
        registry.register("slipway_fleet_slots_timed_out", "Waits for a slot given up so far", fleet.timeouts.clone());
        let age = "Age of the fleet's figures; it grows while the database does not answer";
        registry.register("slipway_fleet_figures_age_seconds", age, fleet.age_seconds.clone());
        fleet
    }

    async fn refresh(&self) {
        // Whoever scrapes at the same time waits for this look.
        let mut read = self.read.lock().await;
        if read.is_none_or(|at| at.elapsed() >= FRESH) {
            match tokio::time::timeout(PATIENCE, figures::read(&self.db)).await {
                Ok(Ok(figures)) => {
                    self.show(&figures);
                    *read = Some(Instant::now());
                }
                Ok(Err(error)) => tracing::warn!(error = %error, "the fleet's figures could not be read"),
                Err(_) => tracing::warn!("the fleet's figures could not be read in time"),
            }
        }
        self.age_seconds.set(read.map_or(f64::MAX, |at| at.elapsed().as_secs_f64()));
    }

    fn show(&self, figures: &figures::Figures) {
        for status in STATUSES {
            let count = figures.runs.get(status).copied().unwrap_or_default();
            self.updates.get_or_create(&InStatus { status }).set(count);
        }
        self.oldest_seconds.set(Duration::from_micros(figures.oldest_us.unsigned_abs()).as_secs_f64());
        self.workers.set(figures.workers);
        self.draining.set(figures.draining);
        for (name, pool) in &figures.pools {
            let label = OfPool { pool: name.clone() };
            self.limit.get_or_create(&label).set(pool.limit);
            self.held.get_or_create(&label).set(pool.held);
            self.waiting.get_or_create(&label).set(pool.waiting);
            self.timeouts.get_or_create(&label).set(pool.timeouts);
        }
    }
}
