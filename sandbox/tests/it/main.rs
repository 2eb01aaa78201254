//! The practice nodes, driven over real HTTP.
#![expect(clippy::unwrap_used, reason = "tests")]

mod api_node;
mod client;
mod faults;
mod rights;
mod runs;
mod uploads;
mod walk;
