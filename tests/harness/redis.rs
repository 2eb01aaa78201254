//! Redis servers of our own.

use lab::servers::redis;
use tokio::sync::OnceCell;

/// A server, running or stopped; always on the same port.
#[derive(Debug)]
pub struct Redis(redis::Redis);

impl Redis {
    /// The one that all tests of this process share. Each uses a prefix of its own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::launch(true)).await
    }

    /// One of its own, for a test that hurts it.
    ///
    /// # Panics
    /// With what to install when Redis is missing, and with its log when it does not start.
    pub async fn private() -> Self {
        Self::launch(false).await
    }

    async fn launch(forgets: bool) -> Self {
        Self(redis::Redis::launch(forgets).await.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Starts it again, with what it knew.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(&mut self) {
        self.0.start().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// SIGKILL. What was written before stays on its disk.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) {
        self.0.stop().await.expect("its end");
    }

    /// Stops it, and starts it again with what it knew.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Stops it, and starts it again with nothing.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub async fn restart_empty(&mut self) {
        self.stop().await;
        self.0.forget().unwrap();
        self.start().await;
    }

    /// Forgets everything.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn flush(&self) {
        self.0.flush().await.unwrap();
    }

    /// Cuts all connections.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn cut_clients(&self) {
        self.command("CLIENT KILL TYPE normal").await.unwrap();
        self.command("CLIENT KILL TYPE pubsub").await.unwrap();
    }

    /// The first line of its answer to a command in one line.
    ///
    /// # Errors
    /// When it is away.
    pub async fn command(&self, line: &str) -> std::io::Result<String> {
        self.0.command(line).await
    }
}
