//! A strict stand-in of Snowflake, and what is tested against it.

mod account;
mod conformance;
mod judge;
mod keys;
mod login;
mod registry;
mod sql;
mod statements;
mod walk;
mod wire;
mod world;
