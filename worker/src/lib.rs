//! worker

pub mod hook_exec;
pub mod hooks;
