//! The laboratory's own parts.
#![expect(clippy::unwrap_used, reason = "tests")]

mod proxy;
mod rows;
