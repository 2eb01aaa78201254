//! PostgreSQL servers.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use engine::db::{Db, Use};
use rustix::process::Signal;
use sea_orm::ConnectionTrait;

use super::{
    guard::{Guarded, Program, free_port},
    programs,
    scratch::Scratch,
};
use crate::{failure::LabError, until::until};

const PATIENCE: Duration = Duration::from_secs(120);

/// A server, running or stopped; always on the same port. Its data goes when it does.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Guarded>,
    port: u16,
    user: Option<(u32, u32)>,
    forgets: bool,
    scratch: Scratch,
}

impl Postgres {
    /// Starts a new one. `forgets`: its folder goes with its process, for one that nobody is left to drop; it can't be started again then.
    ///
    /// # Errors
    /// When PostgreSQL is missing, with what to install; when it does not start, with its log.
    pub async fn launch(forgets: bool) -> Result<Self, LabError> {
        let scratch = Scratch::new("postgres")?;
        let home = scratch.path().join("home");
        fs::create_dir(&home)?;
        let user = server_user()?;
        if let Some((uid, gid)) = user {
            chown(scratch.path(), Some(uid), Some(gid))?;
            chown(&home, Some(uid), Some(gid))?;
        }
        let mut postgres = Self { server: None, port: free_port()?, user, forgets, scratch };
        let mut command = vec![text(&programs::of_postgres("initdb")?), "-D".to_owned(), text(&postgres.data())];
        command.extend(["-U", "slipway", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"].map(str::to_owned));
        let made = Program::new(command, &postgres.log()).as_user(user).start()?;
        if made.exited(PATIENCE).await? != 0 {
            return Err(LabError::failed("initdb", made.log_tail()));
        }
        while !postgres.try_start().await? {
            postgres.port = free_port()?;
        }
        Ok(postgres)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's pid, while it runs.
    pub fn pid(&self) -> Option<i32> {
        self.server.as_ref().map(Guarded::pid)
    }

    /// Starts it again, with its data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(&mut self) -> Result<(), LabError> {
        if self.try_start().await? { Ok(()) } else { Err(LabError::failed("PostgreSQL", "it found its port taken")) }
    }

    /// Stops it: SIGINT ends all sessions in order, SIGQUIT at once, as a crash does. Waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop(&mut self, signal: Signal) -> Result<(), LabError> {
        if let Some(server) = self.server.take() {
            server.signal(signal);
            server.exited(PATIENCE).await?;
        }
        Ok(())
    }

    /// Makes an empty database, and returns its URL.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn database(&self) -> Result<String, LabError> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let db = Db::open(&url(self.port, "postgres"), Use::Shared(1)).await?;
        db.pool().execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
        db.pool().close_by_ref().await?;
        Ok(url(self.port, &name))
    }

    fn home(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    fn log(&self) -> PathBuf {
        self.home().join("log")
    }

    /// False when somebody else took the port.
    async fn try_start(&mut self) -> Result<bool, LabError> {
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", text(&self.home())),
            "max_connections=200".to_owned(),
            "shared_buffers=64MB".to_owned(),
        ];
        let mut command = vec![text(&programs::of_postgres("postgres")?), "-D".to_owned(), text(&self.data())];
        command.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        // An immediate shutdown ends its children, too.
        let mut program = Program::new(command, &self.log()).as_user(self.user).ended_by("QUIT");
        if self.forgets {
            program = program.removing(self.scratch.path());
        }
        let before = fs::metadata(self.log()).map_or(0, |log| log.len() as usize);
        let server = program.start()?;
        let url = url(self.port, "postgres");
        let up = until("PostgreSQL", PATIENCE, || async {
            if server.exit_code().is_some() {
                return Some(false);
            }
            let db = Db::open(&url, Use::Shared(1)).await.ok()?;
            db.pool().close_by_ref().await.ok().map(|()| true)
        })
        .await?;
        let said = server.log();
        if !up && !said.get(before..).unwrap_or_default().contains("bind") {
            return Err(LabError::failed("the start of PostgreSQL", server.log_tail()));
        }
        self.server = up.then_some(server);
        Ok(up)
    }
}

/// The address of a database on a server of this machine, or on a proxy before it.
pub fn url(port: u16, database: &str) -> String {
    format!("postgres://slipway@127.0.0.1:{port}/{database}?sslmode=disable")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// PostgreSQL refuses root: then it runs as a user of its own, else as nobody.
fn server_user() -> Result<Option<(u32, u32)>, LabError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let ids = ["postgres", "nobody"].iter().find_map(|wanted| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let missing = "it refuses to run as root: make a user `postgres` or `nobody`";
    ids.map(Some).ok_or_else(|| LabError::failed("PostgreSQL", missing))
}
