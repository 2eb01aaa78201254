//! Published projects, bundles, deployments and updates on a real SQLite database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod bundles;
mod changes;
mod imports;
mod lists;
mod policy;
mod previews;
mod remapping;
mod rights;
mod support;
mod updates;
mod waiting;
