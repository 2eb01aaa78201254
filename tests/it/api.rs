//! Bad input over real HTTP and on the command line, and what it gets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod bundles;
pub(crate) mod commands;
mod demo;
mod ids;
mod starts;
