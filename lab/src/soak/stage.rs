//! The servers, the proxies between them, and the processes.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use engine::{
    db::{Db, Use},
    secrets::ApiKey,
};
use rustix::process::Signal;
use sandbox::RunningNode;

use super::{
    Tell,
    disk::Disk,
    faults::Log,
    settings::{Settings, Size},
};
use crate::{
    client::Client,
    failure::LabError,
    furniture,
    proxy::Proxy,
    servers::{
        footing::Footing,
        postgres::{self, Postgres},
        programs,
        redis::{self, Redis},
        scratch::Scratch,
        slipway::{Serving, Slipway},
    },
};

/// How long a process may take to drain, beyond what it was given for that.
const DRAIN_MORE: Duration = Duration::from_secs(20);
/// No answer may take longer: the requester asks again.
const ANSWER: Duration = Duration::from_secs(10);
const DATABASE: &str = "SLIPWAY_DATABASE_URL";
const REDIS: &str = "SLIPWAY_QUEUE_REDIS_URL";

/// All of it. Fields are dropped in this order: processes before what they use.
pub(super) struct Stage {
    pub(super) size: Size,
    slipway: Slipway,
    /// None in the embedded size.
    pub(super) api: Option<Member>,
    /// In the embedded size the one process.
    pub(super) workers: Vec<Member>,
    pub(super) node: RunningNode,
    pub(super) node_proxy: Proxy,
    pub(super) redis: Option<Redis>,
    pub(super) postgres: Option<Postgres>,
    pub(super) disk: Disk,
    /// The database itself, past all proxies.
    database: String,
    pub(super) client: Client,
    drain: Duration,
    scratch: Scratch,
}

/// A process of ours, running or not, and its proxies.
pub(super) struct Member {
    pub(super) name: String,
    arguments: Vec<String>,
    port: Option<u16>,
    pub(super) postgres: Option<Proxy>,
    pub(super) redis: Option<Proxy>,
    pub(super) serving: Option<Serving>,
    variables: Vec<(&'static str, String)>,
}

impl Member {
    async fn new(name: String, arguments: &[&str], port: Option<u16>) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { name, arguments, port, postgres: None, redis: None, serving: None, variables: Vec::new() }
    }

    /// Goes to both servers through proxies of its own.
    async fn behind(mut self, postgres: &Postgres, database: &str, redis: &Redis) -> Result<Self, LabError> {
        let (to_postgres, to_redis) = (Proxy::before(postgres.port()).await?, Proxy::before(redis.port()).await?);
        self.variables =
            vec![(DATABASE, postgres::url(to_postgres.port(), database)), (REDIS, redis::url(to_redis.port()))];
        (self.postgres, self.redis) = (Some(to_postgres), Some(to_redis));
        Ok(self)
    }

    /// Starts it, and waits until it is ready.
    pub(super) async fn start(&mut self, slipway: &Slipway) -> Result<(), LabError> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let more: Vec<(&str, String)> = self.variables.clone();
        self.serving = Some(slipway.serve(&self.name, &arguments, self.port, &more).await?);
        Ok(())
    }

    pub(super) async fn kill(&mut self) -> Result<(), LabError> {
        match self.serving.take() {
            Some(serving) => serving.process.kill().await,
            None => Ok(()),
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(serving) = &self.serving {
            serving.process.signal(signal);
        }
    }

    fn pass(&self) {
        for proxy in self.postgres.iter().chain(&self.redis) {
            proxy.pass();
        }
    }
}

impl Stage {
    /// Builds and starts everything.
    pub(super) async fn build(settings: &Settings, tell: &Tell) -> Result<Self, LabError> {
        let scratch = Scratch::new("soak")?;
        let node = furniture::practice().start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let node_proxy = Proxy::start(node.addr()).await?;
        let key = ApiKey::generate();
        let mut slipway = Slipway {
            binary: settings.binary.clone(),
            folder: scratch.path().to_owned(),
            variables: variables(settings, key.expose())?,
        };
        let data = scratch.path().join("data");
        let (packages, staging) = (data.join("packages"), data.join("staging"));
        std::fs::create_dir_all(&staging)?;
        let disk = Disk::prepare(&packages, &staging, &scratch.path().join("disk.log")).await?;
        let port = crate::servers::guard::free_port()?;
        let client = Client::new(&format!("http://127.0.0.1:{port}"), key.expose(), ANSWER)?;
        let mut workers = Vec::new();
        let (mut api, mut postgres, mut redis) = (None, None, None);
        let database = match settings.size {
            Size::Embedded => {
                let folder = data.display().to_string();
                let member = Member::new("dev".to_owned(), &["dev", "--data-dir", &folder], Some(port)).await;
                workers.push(member);
                format!("sqlite://{}", data.join("slipway.db").display())
            }
            Size::Fleet => {
                tell("Starting PostgreSQL and Redis.");
                let Footing { postgres: one, redis: other, database } = Footing::lay(&mut slipway, &data).await?;
                let name = database.rsplit('/').next().and_then(|name| name.split('?').next()).unwrap_or_default();
                let front = Member::new("api".to_owned(), &["api"], Some(port)).await;
                api = Some(front.behind(&one, name, &other).await?);
                for number in 1..=settings.workers.max(2) {
                    let member = Member::new(format!("worker-{number}"), &["worker"], None).await;
                    workers.push(member.behind(&one, name, &other).await?);
                }
                (postgres, redis) = (Some(one), Some(other));
                database
            }
        };
        for member in api.iter_mut().chain(&mut workers) {
            member.start(&slipway).await?;
        }
        let drain = Duration::from_millis(settings.times.drain);
        let size = settings.size;
        Ok(Self {
            size,
            slipway,
            api,
            workers,
            node,
            node_proxy,
            redis,
            postgres,
            disk,
            database,
            client,
            drain,
            scratch,
        })
    }

    /// A pool on the database, past all proxies.
    pub(super) async fn db(&self) -> Result<Db, LabError> {
        Ok(Db::open(&self.database, Use::Shared(4)).await?)
    }

    /// Starts this worker, which is not running.
    pub(super) async fn start_worker(&mut self, place: usize) -> Result<(), LabError> {
        match self.workers.get_mut(place) {
            Some(worker) => worker.start(&self.slipway).await,
            None => Ok(()),
        }
    }

    pub(super) async fn start_api(&mut self) -> Result<(), LabError> {
        match &mut self.api {
            Some(api) => api.start(&self.slipway).await,
            None => Ok(()),
        }
    }

    /// SIGTERM; waits until it has drained, then starts it again.
    pub(super) async fn roll(&mut self, place: usize) -> Result<(), LabError> {
        let patience = self.drain + DRAIN_MORE;
        if let Some(serving) = self.workers.get_mut(place).and_then(|worker| worker.serving.take()) {
            serving.process.signal(Signal::TERM);
            serving.process.exited(patience).await?;
        }
        self.start_worker(place).await
    }

    /// No fault is left, and everything runs.
    pub(super) async fn calm(&mut self, log: &mut Log) -> Result<(), LabError> {
        for member in self.api.iter().chain(&self.workers) {
            member.pass();
            member.signal(Signal::CONT);
        }
        self.node_proxy.pass();
        self.node.disarm_all();
        if let Some(postgres) = &mut self.postgres
            && postgres.pid().is_none()
        {
            postgres.start().await?;
        }
        log.calm();
        let slipway = &self.slipway;
        for member in self.api.iter_mut().chain(&mut self.workers) {
            let ended = member.serving.as_ref().is_none_or(|serving| serving.process.exit_code().is_some());
            if ended {
                log.say(&format!("{} was not running; it is started", member.name));
                member.start(slipway).await?;
            }
        }
        Ok(())
    }

    /// Where the infrastructures find the node.
    pub(super) fn node_url(&self) -> String {
        format!("http://{}", self.node_proxy.address())
    }

    /// What stays for reading.
    pub(super) fn keep(&mut self) -> &Path {
        self.scratch.keep()
    }
}

fn variables(settings: &Settings, key: &str) -> Result<BTreeMap<String, String>, LabError> {
    let times = &settings.times;
    let variables = [
        ("SLIPWAY_ADMIN_KEY", key.to_owned()),
        ("SLIPWAY_WORKER_LEASE_LEASE_MS", times.lease.lease_ms.to_string()),
        ("SLIPWAY_WORKER_LEASE_HEARTBEAT_MS", times.lease.heartbeat_ms.to_string()),
        ("SLIPWAY_WORKER_LEASE_HOOK_GRACE_MS", times.lease.hook_grace_ms.to_string()),
        ("SLIPWAY_WORKER_SWEEP_MS", times.sweep.to_string()),
        ("SLIPWAY_WORKER_DRAIN_MS", times.drain.to_string()),
        ("SLIPWAY_WORKER_HOOKS_PYTHON", programs::python()?),
        ("SLIPWAY_DATABASE_CONNECTIONS", "8".to_owned()),
        ("SLIPWAY_QUEUE_PREFIX", "soak".to_owned()),
        ("SLIPWAY_HTTP_DRAIN_S", "2".to_owned()),
        ("SLIPWAY_NODES_CALL_TIMEOUT_MS", "10000".to_owned()),
    ];
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
