//! What the tests share: real servers, real `slipway` processes, a practice node, and a client.
//!
//! * [`guard`]: processes that die with the test process, however that ends. [`mod@until`]: waiting for a state.
//! * [`postgres`], [`redis`]: servers of our own on free ports; one of each for all tests of a process, private ones for tests that hurt them.
//! * [`kin`]: Redis servers that belong together: sentinels, a cluster, TLS.
//! * [`mortal`]: a PostgreSQL that stops, starts, and goes read-only. [`cut`]: a proxy that cuts one connection in the middle of a commit.
//! * [`mod@registry`]: a registry of images. [`bucket`]: an object store.
//! * [`base`]: a migrated database of its own on SQLite or PostgreSQL. [`rig`]: the deployer and workers on one, inside the test process.
//! * [`slipway`]: the binary, built once. [`fleet`]: `slipway` processes in both sizes. [`client`]: what a GraphQL client does with them; [`requests`]: what tests ask for
//!   again and again; [`stream`]: subscriptions.
//! * [`practice`]: the practice node that everything is deployed to; [`models`]: one for API services. [`history`]: reading journals and pools straight from the database.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "whatever goes wrong here is a failed test"
)]

pub mod base;
pub mod bucket;
pub mod client;
pub mod cut;
pub mod fleet;
pub mod guard;
pub mod history;
pub mod kin;
pub mod models;
pub mod mortal;
pub mod postgres;
pub mod practice;
pub mod redis;
pub mod registry;
pub mod requests;
pub mod rig;
pub mod scratch;
pub mod slipway;
pub mod stream;
pub mod until;

pub use base::{Base, Store};
pub use client::Client;
pub use fleet::{Fleet, FleetBuilder, Size, Worker};
pub use until::{PATIENCE, in_time, until, until_true};
