//! PostgreSQL servers of our own.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use engine::db::{Db, Use};
use sea_orm::ConnectionTrait;
use tokio::sync::OnceCell;

use crate::{
    guard::{Guarded, Program, free_port},
    scratch::Scratch,
    until::until,
};

const INSTALL: &str = "Install PostgreSQL 13 or later (Debian: apt-get install postgresql).";

/// A server that runs. Its data goes when it does.
#[derive(Debug)]
pub struct Postgres {
    server: Guarded,
    port: u16,
    _scratch: Scratch,
}

impl Postgres {
    /// The one that all tests of this process share. Each makes databases of its own on it.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::private).await
    }

    /// One of its own, for a test that hurts it.
    ///
    /// # Panics
    /// With what to install when PostgreSQL is missing, and with its log when it does not start.
    pub async fn private() -> Self {
        for _ in 0..5 {
            if let Some(server) = Self::try_start().await {
                return server;
            }
        }
        panic!("no port stayed free for PostgreSQL");
    }

    /// None when somebody else took the port.
    async fn try_start() -> Option<Self> {
        let initdb = program("initdb");
        let postgres = program("postgres");
        let scratch = Scratch::new("postgres");
        let home = scratch.path().join("home");
        fs::create_dir(&home).unwrap();
        let user = server_user();
        if let Some((uid, gid)) = user {
            chown(scratch.path(), Some(uid), Some(gid)).unwrap();
            chown(&home, Some(uid), Some(gid)).unwrap();
        }
        let data = home.join("data");
        let log = home.join("log");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut command = vec![text(&initdb), "-D".to_owned(), text(&data)];
        command.extend(["-U", "slipway", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"].map(str::to_owned));
        let made = Program::new(command, &log).as_user(user).start();
        let code = made.exited(Duration::from_secs(120)).await;
        assert_eq!(code, 0, "initdb failed: {}", made.log_tail());
        let port = free_port();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", text(&home)),
            "max_connections=200".to_owned(),
            "shared_buffers=64MB".to_owned(),
        ];
        let mut command = vec![text(&postgres), "-D".to_owned(), text(&data)];
        command.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
        // An immediate shutdown ends its children, too.
        let server = Program::new(command, &log).as_user(user).ended_by("QUIT").removing(scratch.path()).start();
        if ready(&server, port).await {
            return Some(Self { server, port, _scratch: scratch });
        }
        assert!(server.log().contains("bind"), "PostgreSQL did not start: {}", server.log_tail());
        None
    }

    /// Makes an empty database, and returns its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let db = Db::open(&self.url("postgres"), Use::Shared(1)).await.expect("PostgreSQL answers");
        db.pool().execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("a database");
        db.pool().close_by_ref().await.expect("a connection ends");
        self.url(&name)
    }

    /// The server's pid.
    pub fn pid(&self) -> i32 {
        self.server.pid()
    }

    fn url(&self, database: &str) -> String {
        url(self.port, database)
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://slipway@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// Whether the server accepts connections; false when it ended first.
async fn ready(server: &Guarded, port: u16) -> bool {
    until("PostgreSQL", Duration::from_secs(60), || async {
        if server.exit_code().is_some() {
            return Some(false);
        }
        Db::open(&url(port, "postgres"), Use::Shared(1)).await.is_ok().then_some(true)
    })
    .await
}

/// PostgreSQL refuses root: then it runs as a user of its own, else as nobody.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let ids = ["postgres", "nobody"].iter().find_map(|wanted| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(ids.expect("PostgreSQL refuses to run as root: make a user `postgres` or `nobody`"))
}

/// A program of PostgreSQL: in PATH, or where Debian keeps it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path())).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|version| version.join("bin")));
    }
    folders.extend(std::env::split_paths(&path));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("There is no `{name}` here. {INSTALL}"))
}

/// Runs a program of PostgreSQL, such as `pg_dump`, and returns what it printed.
///
/// # Panics
/// With what to install when it is missing, and with its words when it fails.
pub fn tool(name: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
