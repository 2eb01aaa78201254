//! What an operator watches of query logs.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The numbers of all emitters of one process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct QueryLogMetrics {
    pub(super) sent: Counter,
    pub(super) batches: Counter,
    pub(super) retries: Counter,
    pub(super) waiting: Gauge,
    dropped: Family<Reason, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl QueryLogMetrics {
    pub(super) fn count_dropped(&self, reason: &'static str, events: usize) {
        self.dropped.get_or_create(&Reason { reason }).inc_by(events as u64);
    }

    /// Events that were sent.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Events that were dropped for this reason: `full`, `too_large`, `refused`, `too_old` or `shutdown`.
    pub fn dropped(&self, reason: &'static str) -> u64 {
        self.dropped.get_or_create(&Reason { reason }).get()
    }

    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("slipway_query_log_sent", "Query events that were sent", self.sent.clone());
        registry.register("slipway_query_log_batches", "Batches of query events that were sent", self.batches.clone());
        registry.register("slipway_query_log_retries", "Batches that were sent again", self.retries.clone());
        registry.register("slipway_query_log_waiting", "Query events that wait to be sent", self.waiting.clone());
        registry.register(
            "slipway_query_log_dropped",
            "Query events that were dropped, by reason",
            self.dropped.clone(),
        );
    }
}
