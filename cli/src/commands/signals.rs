//! How a process is told to stop: SIGTERM or Ctrl-C, and the same once more for at once.

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// The signals that stop a process.
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        self.which().await;
    }

    /// Waits for the next one: the exit code of who is ended by it.
    pub(crate) async fn which(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => 128 + 15,
            _ = self.interrupt.recv() => 128 + 2,
        }
    }
}
