//! The schema over a real deployer on a real SQLite database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests: a failed step is a failed test")]

mod audit;
mod fleet;
mod following;
mod hidden;
mod hiding;
mod nested;
mod people;
mod policies;
mod schema;
mod service_rights;
mod services;
mod walk;
mod world;
