//! PostgreSQL servers of our own.

use std::process::Command;

use lab::servers::{postgres, programs};
use tokio::sync::OnceCell;

/// A server that runs. Its data goes when it does.
#[derive(Debug)]
pub struct Postgres(postgres::Postgres);

impl Postgres {
    /// The one that all tests of this process share. Each makes databases of its own on it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::launch(true)).await
    }

    /// One of its own, for a test that hurts it.
    ///
    /// # Panics
    /// With what to install when PostgreSQL is missing, and with its log when it does not start.
    pub async fn private() -> Self {
        Self::launch(false).await
    }

    async fn launch(forgets: bool) -> Self {
        Self(postgres::Postgres::launch(forgets).await.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Makes an empty database, and returns its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self) -> String {
        self.0.database().await.expect("a database")
    }

    /// The server's pid.
    ///
    /// # Panics
    /// Never: it runs.
    pub fn pid(&self) -> i32 {
        self.0.pid().expect("a server that runs")
    }
}

/// Runs a program of PostgreSQL, such as `pg_dump`, and returns what it printed.
///
/// # Panics
/// With what to install when it is missing, and with its words when it fails.
pub fn tool(name: &str, arguments: &[&str]) -> Vec<u8> {
    let program = programs::of_postgres(name).unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
