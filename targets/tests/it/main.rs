//! The targets, driven over real HTTP against the practice node.

mod answers;
mod push;
mod restore;
mod run_as;
mod support;
mod twice;
mod validate;
mod walk;
