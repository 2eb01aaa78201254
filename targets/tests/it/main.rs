//! The targets, driven over real HTTP against the practice node.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod azure_ml;
mod cloud;
mod governance;
mod live;
mod push;
mod registry;
mod remapping;
mod restore;
mod run_as;
mod support;
mod tls;
mod twice;
mod validate;
mod vertex_ai;
mod walk;
