//! What an operator watches of a worker.

use deployer::drift::Swept;
use engine::journal::Status;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The numbers of one worker process.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) running: Gauge,
    pub(crate) claims: Counter,
    pub(crate) claims_lost: Counter,
    pub(crate) swept: Counter,
    pub(crate) leases: Counter,
    pub(crate) lapses_found: Counter,
    pub(crate) sweeps: Counter,
    pub(crate) refused: Counter,
    pub(crate) parked: Counter,
    pub(crate) slots_held: Gauge,
    pub(crate) seats: Gauge,
    pub(crate) draining: Gauge,
    ended: Family<Outcome, Counter>,
    drift: Family<Comparison, Counter>,
}

/// What a comparison of a node with the last update found.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Comparison {
    found: &'static str,
}

/// How an update ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    status: &'static str,
}

impl Metrics {
    pub(crate) fn count_end(&self, status: Status) {
        self.ended.get_or_create(&Outcome { status: status.as_str() }).inc();
    }

    pub(crate) fn count_drift(&self, swept: Swept) {
        for (found, count) in [("SAME", swept.same), ("DIFFERENT", swept.differing), ("FAILED", swept.failed)] {
            if count > 0 {
                self.drift.get_or_create(&Comparison { found }).inc_by(count);
            }
        }
    }

    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("slipway_updates_running", "Updates that this worker drives now", self.running.clone());
        registry.register("slipway_claims", "Updates that this worker took", self.claims.clone());
        registry.register("slipway_claims_lost", "Looks at updates that were not to be had", self.claims_lost.clone());
        registry.register("slipway_swept", "Updates that only a sweep found", self.swept.clone());
        registry.register("slipway_leases", "Leases that this process registered", self.leases.clone());
        registry.register("slipway_lapses_found", "Lapsed workers that this one ended", self.lapses_found.clone());
        registry.register("slipway_sweeps", "Sweeps that this worker did for the fleet", self.sweeps.clone());
        let refused = self.refused.clone();
        registry.register("slipway_refused_writes", "Writes of this worker that came too late", refused);
        registry.register("slipway_updates_parked", "Times that an update rested, to go on later", self.parked.clone());
        registry.register("slipway_slots_held", "Slots that updates of this worker hold now", self.slots_held.clone());
        registry.register("slipway_seats", "How many updates this worker drives at most", self.seats.clone());
        registry.register("slipway_draining", "1 when this worker takes no new updates", self.draining.clone());
        let drift = self.drift.clone();
        registry.register(
            "slipway_drift_checks",
            "Comparisons of nodes with their last updates, by what they found",
            drift,
        );
        registry.register("slipway_updates_ended", "Updates that ended here, by status", self.ended.clone());
    }
}
