//! Redis servers.

use std::{fs, io, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use super::{
    guard::{Guarded, Program, free_port},
    programs,
    scratch::Scratch,
};
use crate::{failure::LabError, until::until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server, running or stopped; always on the same port. It writes each change to its disk before it answers.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    server: Option<Guarded>,
    scratch: Scratch,
    forgets: bool,
}

impl Redis {
    /// Starts a new one. `forgets`: its folder goes with its process, for one that nobody is left to drop; it can't be started again then.
    ///
    /// # Errors
    /// When Redis is missing, with what to install; when it does not start, with its log.
    pub async fn launch(forgets: bool) -> Result<Self, LabError> {
        let mut redis = Self { port: free_port()?, server: None, scratch: Scratch::new("redis")?, forgets };
        while !redis.try_start().await? {
            redis.port = free_port()?;
        }
        Ok(redis)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Starts it again, with what it knew.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(&mut self) -> Result<(), LabError> {
        if self.try_start().await? { Ok(()) } else { Err(LabError::failed("Redis", "it found its port taken")) }
    }

    /// SIGKILL. What was written before stays on its disk.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        match self.server.take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    /// Its disk is empty when it starts again; it must be stopped.
    ///
    /// # Errors
    /// The file system's.
    pub fn forget(&self) -> Result<(), LabError> {
        Ok(fs::remove_dir_all(self.scratch.path().join("data"))?)
    }

    /// Forgets everything while it runs.
    ///
    /// # Errors
    /// When it does not answer so.
    pub async fn flush(&self) -> Result<(), LabError> {
        match self.command("FLUSHALL").await?.as_str() {
            "+OK" => Ok(()),
            said => Err(LabError::failed("FLUSHALL", said)),
        }
    }

    /// The first line of its answer to a command in one line.
    ///
    /// # Errors
    /// When it is away.
    pub async fn command(&self, line: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        Ok(answer.trim_end().to_owned())
    }

    /// False when the port is taken.
    async fn try_start(&mut self) -> Result<bool, LabError> {
        let data = self.scratch.path().join("data");
        fs::create_dir_all(&data)?;
        let port = self.port.to_string();
        let (program, folder) = (programs::redis_server()?.display().to_string(), data.display().to_string());
        let command = [
            [program.as_str(), "--port"],
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
        let server = program.start()?;
        let up = until("Redis", PATIENCE, || async {
            if server.exit_code().is_some() {
                return Some(false);
            }
            // Busy loading, or not listening yet.
            (self.command("PING").await.ok()? == "+PONG").then_some(true)
        })
        .await?;
        if !up && !server.log().contains("in use") {
            return Err(LabError::failed("the start of Redis", server.log_tail()));
        }
        self.server = up.then_some(server);
        Ok(up)
    }
}

/// The address of a Redis of this machine, or of a proxy before it.
pub fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/0")
}
