//! The edge over real sockets, with a small schema and a small house behind it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests: a failed step is a failed test")]

mod basics;
mod bundles;
mod events;
mod fleet;
mod graphql;
mod rest;
mod socket;
mod toy;
