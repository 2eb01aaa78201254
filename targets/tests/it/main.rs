//! The targets, driven over real HTTP against the practice node.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod answers;
mod governance;
mod k8s;
mod live;
mod push;
mod remapping;
mod restore;
mod run_as;
mod support;
mod tls;
mod twice;
mod validate;
mod walk;
