//! Redis servers of our own.

use std::{fs, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::OnceCell,
};

use crate::{
    guard::{Guarded, Program, free_port},
    scratch::Scratch,
    until::until,
};

const INSTALL: &str = "Install Redis 7 or later (Debian: apt-get install redis-server).";

/// A server, running or stopped; always on the same port.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    server: Option<Guarded>,
    scratch: Scratch,
    /// Nobody is left to remove the scratch folder when the process ends.
    forgets: bool,
}

impl Redis {
    /// The one that all tests of this process share. Each uses a prefix of its own.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Redis> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::new(true)).await
    }

    /// One of its own, for a test that hurts it.
    ///
    /// # Panics
    /// With what to install when Redis is missing, and with its log when it does not start.
    pub async fn private() -> Self {
        Self::new(false).await
    }

    async fn new(forgets: bool) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = std::env::split_paths(&path).any(|folder| folder.join("redis-server").is_file());
        assert!(there, "There is no `redis-server` here. {INSTALL}");
        let mut redis = Self { port: free_port(), server: None, scratch: Scratch::new("redis"), forgets };
        while !redis.try_start().await {
            redis.port = free_port();
        }
        redis
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Starts it again, with what it knew.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(&mut self) {
        assert!(self.try_start().await, "Redis found its port taken");
    }

    /// SIGKILL. What was written before stays on its disk.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
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
        fs::remove_dir_all(self.scratch.path().join("data")).unwrap();
        self.start().await;
    }

    /// Forgets everything.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn flush(&self) {
        assert_eq!(self.command("FLUSHALL").await.unwrap(), "+OK");
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
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        Ok(answer.trim_end().to_owned())
    }

    /// False when the port is taken.
    async fn try_start(&mut self) -> bool {
        let data = self.scratch.path().join("data");
        fs::create_dir_all(&data).unwrap();
        let port = self.port.to_string();
        let folder = data.to_str().unwrap().to_owned();
        let command = [
            ["redis-server", "--port"],
            [&port, "--bind"],
            ["127.0.0.1", "--dir"],
            [&folder, "--save"],
            ["", "--appendonly"],
            ["yes", "--appendfsync"],
            ["always", "--daemonize"],
        ];
        let command = command.concat().into_iter().chain(["no"]);
        let log = self.scratch.path().join(format!("log-{}", self.port));
        let mut program = Program::new(command, &log);
        if self.forgets {
            program = program.removing(self.scratch.path());
        }
        let server = program.start();
        let up = until("Redis", Duration::from_secs(60), || async {
            if server.exit_code().is_some() {
                assert!(server.log().contains("in use"), "Redis did not start: {}", server.log_tail());
                return Some(false);
            }
            // Busy loading, or not listening yet.
            (self.command("PING").await.ok()? == "+PONG").then_some(true)
        })
        .await;
        self.server = up.then_some(server);
        up
    }
}
