//! Hooks as they run: a real supervisor process, a real Python, and the machine's own list of processes as the witness.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "hooks/clients.rs"]
mod clients;
#[path = "hooks/ends.rs"]
mod ends;
#[path = "hooks/output.rs"]
mod output;
#[path = "hooks/processes.rs"]
mod processes;
#[path = "hooks/support.rs"]
mod support;
