//! The node that a front starts: its end, and how it is told to end.

use std::{os::unix::process::ExitStatusExt as _, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::upstream::KEY_VARIABLE;
use crate::{commands::signals::Signals, failure::Failure};

/// A node in a process group of its own; or somebody else's, whose end we don't see.
pub(super) struct Node(Option<(Child, Pid)>);

impl Node {
    /// Starts the command, if there is one. What it says goes where ours goes.
    pub(super) fn start(command: &[String]) -> Result<Self, Failure> {
        let Some((program, arguments)) = command.split_first() else { return Ok(Self(None)) };
        let failed = |problem: String| {
            Failure::new("FRONT_COMMAND_FAILED", format!("The command {program:?} could not be started: {problem}."))
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).env_remove(KEY_VARIABLE).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.ok_or_else(|| failed("it ended at once".to_owned()))?;
        Ok(Self(Some((child, pid))))
    }

    /// Waits for its end: its exit code, 128 and the signal as a shell says it.
    pub(super) async fn ended(&mut self) -> u8 {
        let Some((child, _)) = &mut self.0 else { return std::future::pending().await };
        let status = child.wait().await.ok();
        let code = status.and_then(|status| status.code().or_else(|| Some(128 + status.signal()?)));
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
    }

    /// SIGTERM to all of the group, and SIGKILL to what is left of it after `patience`, or at once if we are told so again.
    pub(super) async fn end(&mut self, patience: Duration, signals: &mut Signals) {
        let Some(&(_, pid)) = self.0.as_ref() else { return };
        // It may have ended.
        let _ = kill_process_group(pid, Signal::TERM);
        tokio::select! {
            _ = self.ended() => {}
            () = tokio::time::sleep(patience) => tracing::warn!("the API node did not end in time, and is killed"),
            () = signals.next() => tracing::warn!("told to stop at once: the API node is killed"),
        }
        let _ = kill_process_group(pid, Signal::KILL);
        self.ended().await;
    }
}
