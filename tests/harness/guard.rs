//! A process that dies with the test process, however that ends.

use std::{ops::Deref, path::Path, time::Duration};

use lab::servers::guard;

/// What is guarded.
#[derive(Debug)]
pub struct Program(guard::Program);

impl Program {
    /// A program with arguments; what it prints is added to `log`. It runs in the log's folder.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>, log: &Path) -> Self {
        Self(guard::Program::new(command, log))
    }

    /// More variables than ours.
    #[must_use]
    pub fn with<K: Into<String>, V: Into<String>>(self, variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(self.0.with(variables))
    }

    /// With this signal where the process is to end by itself.
    #[must_use]
    pub fn ended_by(self, signal: &'static str) -> Self {
        Self(self.0.ended_by(signal))
    }

    /// As this user and group.
    #[must_use]
    pub fn as_user(self, user: Option<(u32, u32)>) -> Self {
        Self(self.0.as_user(user))
    }

    /// Starts it.
    ///
    /// # Panics
    /// When there is no shell.
    pub fn start(self) -> Guarded {
        Guarded(self.0.start().expect("a process"))
    }
}

/// A guarded process. Dropping it ends it, and returns when it is gone.
#[derive(Debug)]
pub struct Guarded(pub(crate) guard::Guarded);

impl Guarded {
    /// Waits for its end: its exit code.
    ///
    /// # Panics
    /// When it did not end in `patience`.
    pub async fn exited(&self, patience: Duration) -> i32 {
        self.0.exited(patience).await.unwrap_or_else(|late| panic!("{late}"))
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn kill(&self) {
        self.0.kill().await.unwrap_or_else(|late| panic!("{late}"));
    }
}

impl Deref for Guarded {
    type Target = guard::Guarded;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A port of this machine that is free now.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    guard::free_port().expect("a free port")
}
