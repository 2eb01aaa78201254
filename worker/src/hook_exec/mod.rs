//! `slipway hook-exec`: the supervisor of one hook. One process, one thread, no async runtime.
//!
//! The worker starts it with a socket as standard input (orders in, statuses out, see `protocol`) and with the pipes of the hook's output
//! as standard output and standard error. It shuts itself in (no new privileges, resource limits, not dumpable, child subreaper), starts the
//! hook's interpreter with an almost empty environment in a scratch directory of its own, and kills **every** descendant when
//! * the worker's end of the socket closes (the worker died),
//! * the lease deadline passes (the worker is paused, or its heartbeat fails): an absolute CLOCK_BOOTTIME time that the worker renews,
//! * the step deadline passes, or the worker asks for it,
//! * the hook's own process ended and left others behind.
//!
//! It says `clean` when it has no child left: being a subreaper, that means no descendant, daemons included. Not covered, as nothing in user
//! space covers it: a hook that runs under the supervisor's own OS user and kills or stops the supervisor (the worker then ends the orphans
//! itself, see [`crate::hooks::orphans`]), and processes that some other service starts at the hook's request.
//!
//! * `protocol`: the messages and their framing.
//! * `channel`: a non-blocking end of a socket that speaks frames.
//! * `jail`: what the supervisor does to itself before it starts the hook.
//! * `os_user`: the account of a hook, and whether this process may switch to it.
//! * `launch`: scratch directory, environment, the interpreter.
//! * `supervise`: the watch, and the end.
//! * `processes`: `/proc`: who descends from whom; signals that can't hit a reused pid.

mod channel;
mod jail;
mod launch;
mod os_user;
pub(crate) mod processes;
pub(crate) mod protocol;
mod supervise;

pub use jail::{ProcessLimits, harden_worker};

use std::process::ExitCode;

/// The whole life of the supervisor. Call it first thing in `main`, before any thread exists.
///
/// Needs no arguments: the socket on standard input brings everything. Exit code 0: a hook was supervised to its end, or refused with a
/// status that says why; 2: standard input is no worker's socket, or its first message is none of ours.
pub fn main() -> ExitCode {
    match supervise::supervise() {
        Ok(()) => ExitCode::SUCCESS,
        // There is nobody to tell: the only channel is the one that failed.
        Err(_) => ExitCode::from(2),
    }
}
