//! Tests of the whole: real servers, real processes.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod api;
mod api_node;
mod backlog;
mod backup;
mod buckets;
mod ci;
mod copies;
mod database;
mod enrolment;
mod events;
mod fleet;
mod flood;
mod hook_clients;
mod hook_test;
mod images;
mod kill;
mod leaks;
mod live;
mod nodes;
mod operators;
mod ordering;
mod platforms;
mod policies;
mod redis;
mod rest;
mod retention;
mod services;
mod slots;
mod soak;
mod tidy;
mod upgrade;
mod walk;
#[path = "../../targets/tests/it/wire.rs"]
#[expect(dead_code, reason = "the targets' own tests use the rest")]
mod wire;
