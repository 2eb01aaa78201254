//! What the edge counts.

use std::time::Duration;

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

/// The edge's metrics. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram>,
    streams: Family<Transport, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transport {
    transport: &'static str,
}

impl HttpMetrics {
    /// Makes the metrics and adds them to a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 8))),
            streams: Family::default(),
        };
        registry.register("slipway_http_requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "slipway_http_request_seconds",
            "Seconds until the head of the answer",
            metrics.seconds.clone(),
        );
        registry.register("slipway_http_streams", "Open WebSockets and event streams", metrics.streams.clone());
        metrics
    }

    pub(crate) fn observe(&self, method: &str, route: &'static str, status: u16, took: Duration) {
        let method = match method {
            "GET" => "GET",
            "POST" => "POST",
            "OPTIONS" => "OPTIONS",
            "HEAD" => "HEAD",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            _ => "other",
        };
        self.requests.get_or_create(&Answered { method, route, status }).inc();
        self.seconds.get_or_create(&Asked { route }).observe(took.as_secs_f64());
    }

    /// Counts an open stream until the answer is dropped.
    pub(crate) fn open(&self, transport: &'static str) -> OpenStream {
        let gauge = self.streams.get_or_create_owned(&Transport { transport });
        gauge.inc();
        OpenStream(gauge)
    }
}

/// An open stream.
pub(crate) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
