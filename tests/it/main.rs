//! Tests of the whole: real servers, real processes.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod api;
mod backlog;
mod backup;
mod fleet;
mod kill;
mod leaks;
mod operators;
mod ordering;
mod redis;
mod retention;
mod slots;
mod tidy;
mod upgrade;
mod walk;
