//! `slipway copy-exec`: the supervisor of one copy command, so that none outlives its worker, however that ends.
//!
//! The worker makes it the leader of a process group, and holds the other end of its standard input. The command runs in the same group, without input, and with the
//! supervisor's own outputs. When the input ends, the worker is gone: the whole group is killed. A process that left the group is nobody's any more, here as without a
//! supervisor.

use std::{
    io::{self, Read as _},
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitCode, Stdio},
};

use rustix::process::{Signal, getpid, kill_process_group};

/// What a shell says of a program that could not be started.
const NOT_STARTED: u8 = 127;
/// What a shell adds to the number of a signal that ended a program.
const SIGNALLED: i32 = 128;

/// Runs `words`, a program and its arguments; answers as it ended.
pub fn main(words: &[String]) -> ExitCode {
    let Some((program, arguments)) = words.split_first() else { return ExitCode::from(NOT_STARTED) };
    let started = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return told(&error),
    };
    std::thread::spawn(|| {
        // Nobody writes: what ends the wait is the end of the input, or of the worker.
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        // This process is among those that end here.
        let _ = kill_process_group(getpid(), Signal::KILL);
    });
    match child.wait() {
        Ok(status) => {
            let code = status.code().unwrap_or_else(|| SIGNALLED + status.signal().unwrap_or_default());
            ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
        }
        Err(error) => told(&error),
    }
}

/// Says what went wrong where the command would: the worker reads it.
fn told(error: &io::Error) -> ExitCode {
    let _ = io::Write::write_all(&mut io::stderr(), format!("{error}\n").as_bytes());
    ExitCode::from(NOT_STARTED)
}
