//! Query logs: events of queries on their way to an Event Server, to Kafka or to log files, never in the way of a query.
//!
//! * [`Emitter`]: takes events without waiting, and sends them in batches in the background; what does not fit is counted.
//! * [`Outlet`]: where batches go. `event_server`, `kafka` and `files` are the three; [`Surroundings::open`] makes one as settings say.
//! * [`QueryLogMetrics`]: what was sent, and what was not.

mod emitter;
mod event_server;
mod files;
mod kafka;
mod metrics;
mod outlet;

pub use emitter::{Bounds, Emitter};
pub use metrics::QueryLogMetrics;
pub use outlet::{Batch, Outlet, Surroundings, Undelivered};

/// The topic of query logs.
pub const TOPIC: &str = "apinode-query";
