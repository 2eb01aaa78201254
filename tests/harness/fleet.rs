//! `slipway` processes in both sizes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    process::{Command, Output},
};

use engine::{
    db::{Db, Use},
    secrets::{ApiKey, Keyring},
};
use lab::servers::slipway::Slipway;
use rustix::process::Signal;

use crate::{client::Client, guard::Guarded, postgres::Postgres, redis::Redis, scratch::Scratch, slipway};

/// The two sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// `slipway dev`: one process on SQLite.
    Embedded,
    /// `slipway api`, some `slipway worker`, PostgreSQL and Redis.
    Fleet,
}

/// What a fleet will be.
#[derive(Debug)]
pub struct FleetBuilder {
    size: Size,
    workers: usize,
    variables: BTreeMap<String, String>,
    private_redis: bool,
    private_postgres: bool,
    fill: Option<Fill>,
}

/// What puts a backup in its place.
struct Fill(Box<Filling>);

type Filling = dyn FnOnce(&str, &Path) + Send;

impl std::fmt::Debug for Fill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fill")
    }
}

impl FleetBuilder {
    /// Sets a variable, such as `SLIPWAY_WORKER_SEATS`.
    #[must_use]
    pub fn set(mut self, variable: &str, value: impl ToString) -> Self {
        self.variables.insert(variable.to_owned(), value.to_string());
        self
    }

    /// How many workers; only a fleet has more than one.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Leases that lapse soon: for tests that kill or pause workers.
    #[must_use]
    pub fn short_lease(self) -> Self {
        self.set("SLIPWAY_WORKER_LEASE_LEASE_MS", 2_000)
            .set("SLIPWAY_WORKER_LEASE_HEARTBEAT_MS", 400)
            .set("SLIPWAY_WORKER_LEASE_HOOK_GRACE_MS", 1_200)
    }

    /// A Redis that this test may stop and flush.
    #[must_use]
    pub fn private_redis(mut self) -> Self {
        self.private_redis = true;
        self
    }

    /// A PostgreSQL that this test may hurt.
    #[must_use]
    pub fn private_postgres(mut self) -> Self {
        self.private_postgres = true;
        self
    }

    /// Before anything starts, `fill` gets the URL of the empty database and the folder for `slipway.db`, `packages` and `master.key`, and puts
    /// there what was backed up, the key in any case.
    #[must_use]
    pub fn filled_with(mut self, fill: impl FnOnce(&str, &Path) + Send + 'static) -> Self {
        self.fill = Some(Fill(Box::new(fill)));
        self
    }

    /// Starts it, and waits until every process is ready.
    ///
    /// # Panics
    /// When one is not; with its log.
    pub async fn start(self) -> Fleet {
        let scratch = Scratch::new("fleet");
        let key = ApiKey::generate();
        let at = |name: &str| scratch.at(name);
        let mut variables = BTreeMap::from([
            ("SLIPWAY_ADMIN_KEY".to_owned(), key.expose().to_owned()),
            ("SLIPWAY_WORKER_SWEEP_MS".to_owned(), "500".to_owned()),
            ("SLIPWAY_WORKER_HOOKS_PYTHON".to_owned(), slipway::python()),
            ("SLIPWAY_DATABASE_CONNECTIONS".to_owned(), "8".to_owned()),
            ("SLIPWAY_HTTP_DRAIN_S".to_owned(), "5".to_owned()),
            ("RUST_BACKTRACE".to_owned(), "1".to_owned()),
        ]);
        let (mut postgres, mut redis) = (None, None);
        match self.size {
            // `slipway dev` says the same by itself; the other commands need to be told.
            Size::Embedded => {
                variables.insert("SLIPWAY_DATABASE_URL".to_owned(), format!("sqlite://{}", at("data/slipway.db")));
                variables.insert("SLIPWAY_SECRETS_MASTER_KEY_FILE".to_owned(), at("data/master.key"));
            }
            Size::Fleet => {
                let url = if self.private_postgres {
                    postgres.insert(Postgres::private().await).database().await
                } else {
                    Postgres::shared().await.database().await
                };
                let redis_url = if self.private_redis {
                    redis.insert(Redis::private().await).url()
                } else {
                    Redis::shared().await.url()
                };
                if self.fill.is_none() {
                    Keyring::create(Path::new(&at("master.key"))).unwrap();
                }
                variables.insert("SLIPWAY_QUEUE_PREFIX".to_owned(), prefix(&url));
                variables.insert("SLIPWAY_QUEUE_REDIS_URL".to_owned(), redis_url);
                variables.insert("SLIPWAY_DATABASE_URL".to_owned(), url);
                variables.insert("SLIPWAY_SECRETS_MASTER_KEY_FILE".to_owned(), at("master.key"));
                variables.insert("SLIPWAY_PACKAGES_LOCATION".to_owned(), at("packages"));
                variables.insert("SLIPWAY_PACKAGES_STAGING".to_owned(), at("staging"));
            }
        }
        if let Some(Fill(fill)) = self.fill {
            let home =
                if self.size == Size::Embedded { scratch.path().join("data") } else { scratch.path().to_owned() };
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&home).unwrap();
            fill(&variables["SLIPWAY_DATABASE_URL"], &home);
        }
        variables.extend(self.variables);
        let client = Client::new("http://127.0.0.1:0", key.expose());
        let mut fleet =
            Fleet { size: self.size, client, api: None, workers: Vec::new(), redis, postgres, variables, scratch };
        match self.size {
            Size::Embedded => fleet.start_worker().await,
            Size::Fleet => {
                let migrated = fleet.run(&["migrate"]);
                assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
                fleet.start_api().await;
                for _ in 0..self.workers {
                    fleet.start_worker().await;
                }
            }
        }
        fleet
    }
}

/// Processes that work together. Dropping it ends them all.
#[derive(Debug)]
pub struct Fleet {
    /// Its size.
    pub size: Size,
    /// The administrator's client, at the API.
    pub client: Client,
    /// The API's process; None in the embedded size, and while it is stopped.
    pub api: Option<Guarded>,
    /// The workers. In the embedded size the one process.
    pub workers: Vec<Worker>,
    /// Its own Redis, if it has one.
    pub redis: Option<Redis>,
    /// Its own PostgreSQL, if it has one.
    pub postgres: Option<Postgres>,
    variables: BTreeMap<String, String>,
    /// Last, so that it goes when all processes have gone.
    scratch: Scratch,
}

/// A worker's process. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    process: Guarded,
    /// Where it serves its health.
    pub port: u16,
}

impl Fleet {
    /// A fleet of this size; with two workers, if it is one of several processes.
    pub fn of(size: Size) -> FleetBuilder {
        FleetBuilder {
            size,
            workers: 2,
            variables: BTreeMap::new(),
            private_redis: false,
            private_postgres: false,
            fill: None,
        }
    }

    /// A pool on its database, for reading what is there.
    ///
    /// # Panics
    /// When it can't be opened.
    pub async fn db(&self) -> Db {
        Db::open(&self.variables["SLIPWAY_DATABASE_URL"], Use::Shared(4)).await.expect("the database")
    }

    /// Where its database is.
    ///
    /// # Panics
    /// Never: each fleet has one.
    pub fn database(&self) -> &str {
        &self.variables["SLIPWAY_DATABASE_URL"]
    }

    /// Runs a command of the binary to its end, with this fleet's settings.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(slipway::binary())
            .args(arguments)
            .envs(&self.variables)
            .current_dir(self.scratch.path())
            .output()
            .unwrap()
    }

    /// Runs a line of a shell with this fleet's settings; `$0` is the binary.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn shell(&self, line: &str) -> Output {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", line]).arg(slipway::binary()).envs(&self.variables);
        shell.current_dir(self.scratch.path()).output().unwrap()
    }

    /// Makes a user in these groups, and returns a client with its key.
    ///
    /// # Panics
    /// When that is refused.
    pub fn user(&self, login: &str, groups: &[&str]) -> Client {
        let groups = groups.iter().flat_map(|group| ["--group", group]);
        let arguments: Vec<&str> = ["admin", "user", "create", login].into_iter().chain(groups).collect();
        let made = self.run(&arguments);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = self.run(&["admin", "key", "create", "--user", login]);
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        Client::new(self.client.url(), String::from_utf8(key.stdout).unwrap().trim())
    }

    /// Sets a variable for processes that are started from now on.
    pub fn set(&mut self, variable: &str, value: impl ToString) {
        self.variables.insert(variable.to_owned(), value.to_string());
    }

    /// Where its files are.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Starts the API, on another port than before.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn start_api(&mut self) {
        let (process, port) = self.serve("api", &["api"]).await;
        self.api = Some(process);
        self.client.move_to(&format!("http://127.0.0.1:{port}"));
    }

    /// Starts another worker; in the embedded size, the one process.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn start_worker(&mut self) {
        self.start_worker_with(&[]).await;
    }

    /// Starts another worker with these arguments.
    ///
    /// # Panics
    /// As [`Fleet::start_worker`].
    pub async fn start_worker_with(&mut self, arguments: &[&str]) {
        let name = format!("worker-{}", self.workers.len() + 1);
        let data = self.scratch.at("data");
        let (process, port) = match self.size {
            Size::Embedded => self.serve(&name, &[&["dev", "--data-dir", &data], arguments].concat()).await,
            Size::Fleet => self.serve(&name, &[&["worker"], arguments].concat()).await,
        };
        if self.size == Size::Embedded {
            self.client.move_to(&format!("http://127.0.0.1:{port}"));
        }
        self.workers.push(Worker { process, port });
    }

    /// Everything that the processes have logged.
    pub fn logs(&self) -> String {
        let logs = self.api.iter().chain(self.workers.iter().map(|worker| &worker.process));
        logs.map(|process| process.log()).collect::<Vec<_>>().join("\n")
    }

    async fn serve(&self, name: &str, arguments: &[&str]) -> (Guarded, u16) {
        let slipway = Slipway {
            binary: slipway::binary(),
            folder: self.scratch.path().to_owned(),
            variables: self.variables.clone(),
        };
        let serving = slipway.serve(name, arguments, None, &[]).await.unwrap_or_else(|error| panic!("{error}"));
        (Guarded(serving.process), serving.port)
    }
}

impl Worker {
    /// Its process.
    pub fn process(&self) -> &Guarded {
        &self.process
    }

    /// SIGKILL, and waits for its end.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// SIGSTOP: it stands still, and does not know it.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn wake(&self) {
        self.process.signal(Signal::CONT);
    }

    /// SIGTERM: it drains.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        lab::servers::slipway::answers(self.port).await
    }
}

/// One for each database: tests share a Redis.
fn prefix(url: &str) -> String {
    let database = url.rsplit('/').next().and_then(|name| name.split('?').next()).unwrap_or_default();
    format!("{database}-{}", std::process::id())
}
