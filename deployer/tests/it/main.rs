//! Whatever can be done with a deployer, on a real SQLite database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod deployments;
mod identity;
