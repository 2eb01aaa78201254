//! What an operator watches of an Event Server.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The numbers of one process.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) events: Counter,
    pub(crate) bytes: Counter,
    pub(crate) commits: Counter,
    pub(crate) files: Counter,
    pub(crate) confirmations: Counter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) waiting: Gauge,
    pub(crate) known: Gauge,
    batches: Family<Outcome, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            events: Counter::default(),
            bytes: Counter::default(),
            commits: Counter::default(),
            files: Counter::default(),
            confirmations: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            waiting: Gauge::default(),
            known: Gauge::default(),
            batches: Family::default(),
        }
    }
}

impl Metrics {
    /// One batch, and what came of it.
    pub(crate) fn count(&self, outcome: &'static str) {
        self.batches.get_or_create(&Outcome { outcome }).inc();
    }

    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("slipway_events_filed", "Events that were filed", self.events.clone());
        registry.register("slipway_events_filed_bytes", "Bytes that were filed", self.bytes.clone());
        registry.register("slipway_events_batches", "Batches, by what came of them", self.batches.clone());
        registry.register(
            "slipway_events_commits",
            "Commits: each files all batches that waited",
            self.commits.clone(),
        );
        registry.register("slipway_events_files", "Files that were put", self.files.clone());
        registry.register(
            "slipway_events_fsyncs",
            "How often the store was asked to confirm",
            self.confirmations.clone(),
        );
        registry.register("slipway_events_commit_seconds", "Seconds of a commit", self.commit_seconds.clone());
        registry.register("slipway_events_waiting", "Batches that wait to be filed", self.waiting.clone());
        registry.register("slipway_events_known_batches", "Batch ids that are recognised", self.known.clone());
    }
}
