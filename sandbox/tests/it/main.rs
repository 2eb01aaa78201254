//! The practice node, driven over real HTTP.
#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod faults;
mod rights;
mod runs;
mod uploads;
mod walk;
