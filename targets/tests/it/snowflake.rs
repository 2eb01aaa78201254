//! A strict stand-in of Snowflake, and what is tested against it.

pub(crate) mod account;
mod judge;
mod keys;
mod login;
mod sql;
mod statements;
mod walk;
pub(crate) mod world;
