//! A PostgreSQL that a test may stop, start again with what it knew, and make read-only.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::Path,
    time::Duration,
};

use engine::db::{Db, Use};
use rustix::process::Signal;
use sea_orm::ConnectionTrait;

use crate::{
    guard::{Guarded, Program, free_port},
    postgres,
    scratch::Scratch,
    until::{PATIENCE, until},
};

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It rolls back what is under way.
    Fast,
    /// As if it crashed.
    Immediate,
}

/// The server, running or stopped; always on the same port. It has one empty database, `slipway`.
#[derive(Debug)]
pub struct Mortal {
    port: u16,
    command: Vec<String>,
    user: Option<(u32, u32)>,
    server: Option<Guarded>,
    scratch: Scratch,
}

impl Mortal {
    /// Makes and starts one.
    ///
    /// # Panics
    /// When that fails.
    pub async fn new() -> Self {
        // The programs and their user are those of the shared server.
        let shared = postgres::Postgres::shared().await.pid();
        let process = format!("/proc/{shared}");
        let program = fs::read_link(format!("{process}/exe")).expect("a server's program");
        let folder = program.parent().unwrap();
        let owner = fs::metadata(&process).unwrap();
        let user = rustix::process::geteuid().is_root().then_some((owner.uid(), owner.gid()));
        let scratch = Scratch::new("mortal");
        let home = scratch.path().join("home");
        fs::create_dir(&home).unwrap();
        if let Some((uid, gid)) = user {
            chown(scratch.path(), Some(uid), Some(gid)).unwrap();
            chown(&home, Some(uid), Some(gid)).unwrap();
        }
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let data = text(&home.join("data"));
        let mut initdb = vec![text(&folder.join("initdb")), "-D".to_owned(), data.clone()];
        initdb.extend(["-U", "slipway", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"].map(str::to_owned));
        let made = Program::new(initdb, &home.join("log")).as_user(user).start();
        assert_eq!(made.exited(Duration::from_secs(120)).await, 0, "initdb failed: {}", made.log_tail());
        let mut mortal = Self { port: 0, command: Vec::new(), user, server: None, scratch };
        loop {
            mortal.port = free_port();
            let (port, sockets) = (format!("port={}", mortal.port), format!("unix_socket_directories={}", text(&home)));
            let settings =
                [&port, "listen_addresses=127.0.0.1", &sockets, "max_connections=100", "shared_buffers=32MB"];
            mortal.command = vec![text(&folder.join("postgres")), "-D".to_owned(), data.clone()];
            mortal.command.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
            if mortal.start().await {
                break;
            }
        }
        mortal.tell("postgres", &["CREATE DATABASE slipway"]).await;
        mortal
    }

    /// Where its database is.
    pub fn url(&self) -> String {
        format!("postgres://slipway@127.0.0.1:{}/slipway?sslmode=disable", self.port)
    }

    /// Starts it. False when its port is taken.
    ///
    /// # Panics
    /// When it fails for another reason.
    pub async fn start(&mut self) -> bool {
        let log = self.scratch.path().join("home/log");
        let server = Program::new(self.command.clone(), &log).as_user(self.user).ended_by("QUIT").start();
        let up = until("PostgreSQL", PATIENCE, || async {
            if server.exit_code().is_some() {
                assert!(server.log_tail().contains("bind"), "PostgreSQL did not start: {}", server.log_tail());
                return Some(false);
            }
            Db::open(&self.url().replace("/slipway?", "/postgres?"), Use::Shared(1)).await.is_ok().then_some(true)
        })
        .await;
        self.server = up.then_some(server);
        up
    }

    /// Stops it, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(&mut self, end: End) {
        if let Some(server) = self.server.take() {
            server.signal(if end == End::Fast { Signal::INT } else { Signal::QUIT });
            server.exited(PATIENCE).await;
        }
    }

    /// Every transaction from now on is read-only, or none is.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn read_only(&self, on: bool) {
        let setting = format!("ALTER SYSTEM SET default_transaction_read_only = {}", if on { "on" } else { "off" });
        self.tell("slipway", &["SET default_transaction_read_only = off", &setting, "SELECT pg_reload_conf()"]).await;
        let db = Db::open(&self.url(), Use::Shared(1)).await.unwrap();
        until("the setting", PATIENCE, || async { (db.takes_writes().await.unwrap() != on).then_some(()) }).await;
        db.pool().close_by_ref().await.unwrap();
    }

    async fn tell(&self, database: &str, statements: &[&str]) {
        let url = self.url().replace("/slipway?", &format!("/{database}?"));
        let db = Db::open(&url, Use::Shared(1)).await.expect("PostgreSQL answers");
        for statement in statements {
            db.pool().execute_unprepared(statement).await.expect(statement);
        }
        db.pool().close_by_ref().await.unwrap();
    }
}
