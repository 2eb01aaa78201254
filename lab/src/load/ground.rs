//! The servers and processes that are loaded: an API and workers, or the one process on SQLite. Nothing lies between them.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use engine::{
    db::{Db, Use},
    secrets::ApiKey,
};
use rustix::process::Signal;
use sandbox::RunningNode;
use serde_json::json;

use crate::{
    client::Client,
    failure::LabError,
    furniture,
    servers::{
        footing::Footing,
        guard::free_port,
        programs,
        scratch::Scratch,
        slipway::{Serving, Slipway},
    },
    soak::Size,
};

/// What keeps our keys in Redis apart.
pub(super) const PREFIX: &str = "load";
const INFRASTRUCTURE: &str = "load";
/// No answer may take longer; a request that is to be refused may wait for that.
const ANSWER: Duration = Duration::from_secs(60);
const ENDS: Duration = Duration::from_secs(120);
const SETTLES_MS: u64 = 2_000;

/// All of it. Fields are dropped in this order: processes before what they use.
pub(super) struct Ground {
    size: Size,
    api: Option<Serving>,
    /// In the embedded size the one process.
    workers: Vec<Serving>,
    node: RunningNode,
    /// None in the embedded size.
    pub(super) footing: Option<Footing>,
    slipway: Slipway,
    data: PathBuf,
    port: u16,
    key: String,
    database: String,
    scratch: Scratch,
}

impl Ground {
    /// Starts the servers; no process of ours runs yet.
    pub(super) async fn build(binary: &Path, size: Size) -> Result<Self, LabError> {
        let scratch = Scratch::new("load")?;
        let data = scratch.path().join("data");
        std::fs::create_dir_all(data.join("staging"))?;
        let key = ApiKey::generate().expose().to_owned();
        let variables = [
            ("SLIPWAY_ADMIN_KEY", key.clone()),
            ("SLIPWAY_QUEUE_PREFIX", PREFIX.to_owned()),
            ("SLIPWAY_WORKER_HOOKS_PYTHON", programs::python()?),
            ("SLIPWAY_LOG_FILTER", "warn".to_owned()),
            ("SLIPWAY_HTTP_DRAIN_S", "2".to_owned()),
        ];
        let variables: BTreeMap<String, String> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut slipway = Slipway { binary: binary.to_owned(), folder: scratch.path().to_owned(), variables };
        let footing = match size {
            Size::Embedded => None,
            Size::Fleet => Some(Footing::lay(&mut slipway, &data).await?),
        };
        let database = match &footing {
            Some(footing) => footing.database.clone(),
            None => format!("sqlite://{}", data.join("slipway.db").display()),
        };
        let node = furniture::practice().start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let (api, workers, port) = (None, Vec::new(), free_port()?);
        Ok(Self { size, api, workers, node, footing, slipway, data, port, key, database, scratch })
    }

    /// Sets a variable for processes that are started from now on.
    pub(super) fn set(&mut self, variable: &str, value: impl ToString) {
        self.slipway.set(variable, value);
    }

    /// Starts what does not run: an API and so many workers; in the embedded size the one process.
    pub(super) async fn start(&mut self, workers: usize) -> Result<(), LabError> {
        if self.size == Size::Embedded {
            let folder = self.data.display().to_string();
            if self.workers.is_empty() {
                let arguments = ["dev", "--data-dir", &folder];
                self.workers.push(self.slipway.serve("dev", &arguments, Some(self.port), &[]).await?);
            }
            return Ok(());
        }
        if self.api.is_none() {
            self.api = Some(self.slipway.serve("api", &["api"], Some(self.port), &[]).await?);
        }
        while self.workers.len() < workers {
            let name = format!("worker-{}", self.workers.len() + 1);
            self.workers.push(self.slipway.serve(&name, &["worker"], None, &[]).await?);
        }
        Ok(())
    }

    /// Stops the workers, and in the embedded size so everything.
    pub(super) async fn stop_workers(&mut self) -> Result<(), LabError> {
        for serving in std::mem::take(&mut self.workers) {
            stop(serving).await?;
        }
        Ok(())
    }

    /// Stops all processes.
    pub(super) async fn stop(&mut self) -> Result<(), LabError> {
        self.stop_workers().await?;
        match self.api.take() {
            Some(serving) => stop(serving).await,
            None => Ok(()),
        }
    }

    /// The running processes: name and pid.
    pub(super) fn processes(&self) -> Vec<(String, i32)> {
        let pid = |serving: &Serving| serving.process.pid();
        let api = self.api.iter().map(|serving| ("api".to_owned(), pid(serving)));
        let name = |at: usize| match self.size {
            Size::Embedded => "dev".to_owned(),
            Size::Fleet => format!("worker-{}", at + 1),
        };
        api.chain(self.workers.iter().enumerate().map(|(at, serving)| (name(at), pid(serving)))).collect()
    }

    /// The administrator's client.
    pub(super) fn client(&self) -> Result<Client, LabError> {
        self.client_with(&self.key)
    }

    /// One with this key, and connections of its own.
    pub(super) fn client_with(&self, key: &str) -> Result<Client, LabError> {
        Client::new(&format!("http://127.0.0.1:{}", self.port), key, ANSWER)
    }

    /// A pool on the database.
    pub(super) async fn db(&self) -> Result<Db, LabError> {
        Ok(Db::open(&self.database, Use::Shared(4)).await?)
    }

    /// A pool on another database with nothing but the schema.
    pub(super) async fn empty_db(&self, name: &str) -> Result<Db, LabError> {
        let url = match &self.footing {
            Some(footing) => footing.postgres.database().await?,
            None => format!("sqlite://{}", self.scratch.at(&format!("{name}.db"))),
        };
        let mut slipway = self.slipway.clone();
        slipway.set("SLIPWAY_DATABASE_URL", &url);
        slipway.migrate()?;
        Ok(Db::open(&url, Use::Shared(4)).await?)
    }

    /// Makes an infrastructure on the practice node, and deployments that each have a project of their own there: their ids.
    pub(super) async fn furnish(&self, deployments: usize) -> Result<Vec<String>, LabError> {
        let client = self.client()?;
        let url = format!("http://{}", self.node.addr());
        furniture::infrastructure(&client, INFRASTRUCTURE, &url, SETTLES_MS).await?;
        client.upload(furniture::bundle_of("LOAD", "v1")).await?;
        let mut made = Vec::new();
        for number in 1..=deployments {
            let id = format!("load-{number}");
            let on_node = format!("LOAD{number}");
            furniture::deployment(&client, &id, INFRASTRUCTURE, ("LOAD", "v1"), &on_node, json!({})).await?;
            made.push(id);
        }
        Ok(made)
    }

    /// The processes' logs stay, for reading.
    pub(super) fn keep(&mut self) -> &Path {
        self.scratch.keep()
    }
}

async fn stop(serving: Serving) -> Result<(), LabError> {
    serving.process.signal(Signal::TERM);
    serving.process.exited(ENDS).await.map(drop)
}

/// Asks for an update.
pub(super) const START: &str =
    "mutation($id: ID!) { startUpdate(deploymentId: $id) { update { id } refusals { code message } } }";
