//! The deployer and workers inside the test process, without HTTP.

use std::{sync::Arc, time::Duration};

use deployer::{
    Deployer, bootstrap,
    bundles::{self, BundleKey},
    deployments::{self, Deployment, NewDeployment},
    hooks::{self, HookInput, Phase},
    infrastructures::{self, Infrastructure, NewInfrastructure, SettingsPatch},
    keys, updates,
    viewer::Viewer,
};
use engine::{
    bell::Bell,
    ids::RunId,
    leases::LeaseSettings,
    packages::PackageStore,
    queue::Queue,
    runs::Loaded,
    secrets::{Keyring, Secret},
};
use sandbox::{BundleSpec, RunningNode, sample_bundle};
use targets::{
    Targets,
    http::{HttpSettings, install_crypto_provider},
    spec::ConnectionRemapping,
};
use tokio::task::JoinHandle;
use worker::{HookSettings, Worker, WorkerSettings, hooks::Supervisor};

use crate::{
    base::{Base, Store},
    history, practice, slipway,
    until::PATIENCE,
};

/// A deployer on a fresh database, a practice node, and the workers that were started.
pub struct Rig {
    /// The database.
    pub base: Base,
    /// The deployer.
    pub deployer: Deployer,
    /// What the workers ring.
    pub bell: Bell,
    /// An administrator.
    pub admin: Viewer,
    /// Where everything is deployed to.
    pub node: RunningNode,
    workers: Vec<(Worker, JoinHandle<()>)>,
}

impl Rig {
    /// Without a worker yet.
    ///
    /// # Panics
    /// When any part can't be made.
    pub async fn new(store: Store) -> Self {
        install_crypto_provider();
        let base = Base::new(store).await;
        let staging = base.scratch.path().join("staging");
        let deployer = Deployer {
            db: base.db.clone(),
            keyring: Arc::new(Keyring::generate()),
            packages: Arc::new(PackageStore::open(base.scratch.at("packages"), &staging).unwrap()),
            targets: Arc::new(Targets::new(HttpSettings::default()).unwrap()),
            queue: Queue::embedded(),
            query_logs: deployer::services::QueryLogs::default(),
            audit: deployer::audit::Ledger::default(),
        };
        let key = bootstrap::first_start(&deployer.db, None).await.unwrap().expect("the first start");
        let admin = keys::authenticate(&deployer.db, key.expose()).await.unwrap().expect("the administrator");
        Self { base, deployer, bell: Bell::embedded(), admin, node: practice::node().await, workers: Vec::new() }
    }

    /// Settings for tests: short times, the real interpreter.
    pub fn settings() -> WorkerSettings {
        WorkerSettings {
            seats: 16,
            lease: LeaseSettings { lease_ms: 5_000, heartbeat_ms: 1_000, hook_grace_ms: 3_000 },
            sweep_ms: 500,
            hooks: HookSettings { python: slipway::python(), ..HookSettings::default() },
            ..WorkerSettings::default()
        }
    }

    /// Starts a worker. Hooks run under the real supervisor.
    ///
    /// # Panics
    /// When it can't be made.
    pub async fn work(&mut self, settings: WorkerSettings) -> Worker {
        worker::hooks::worker_startup().unwrap();
        let supervisor = Supervisor { program: slipway::binary(), args: vec!["hook-exec".to_owned()] };
        let worker = Worker::new(self.deployer.clone(), self.bell.clone(), settings, supervisor).await.unwrap();
        let working = worker.clone();
        self.workers.push((worker.clone(), tokio::spawn(async move { working.run().await })));
        worker
    }

    /// Stops all workers, and waits for them.
    ///
    /// # Panics
    /// When one does not stop.
    pub async fn rest(&mut self) {
        for (worker, task) in self.workers.drain(..) {
            worker.stop_now();
            tokio::time::timeout(Duration::from_secs(30), task).await.expect("a worker stops").unwrap();
        }
    }

    /// An infrastructure that leads to the practice node, with remappings of the sample bundle's connections.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn infrastructure(&self, id: &str, settings: SettingsPatch) -> Infrastructure {
        let remap =
            |source: &str, target: &str| ConnectionRemapping { source: source.to_owned(), target: target.to_owned() };
        let settings = SettingsPatch {
            node_url: Some(self.node.url()),
            connection_remapping: Some(vec![remap("sql-dev", "sql-prod"), remap("files-dev", "files-prod")]),
            deploy_as_user: Some(Some("deployer".to_owned())),
            run_as_scenarios: Some(Some("runner".to_owned())),
            run_as_webapps: Some(Some("runner".to_owned())),
            ..settings
        };
        let new = NewInfrastructure {
            id: id.to_owned(),
            stage: "Test".to_owned(),
            settings,
            admin_key: Some(Secret::from(practice::NODE_KEY.to_owned())),
            ..Default::default()
        };
        infrastructures::create(&self.deployer, &self.admin, new).await.unwrap()
    }

    /// Replaces the hooks of one phase by ones with this code.
    ///
    /// # Panics
    /// When they are refused.
    pub async fn hooks(&self, infrastructure: &Infrastructure, phase: Phase, codes: &[&str]) {
        let input = |(number, code): (usize, &&str)| HookInput {
            name: format!("hook-{}", number + 1),
            code: (*code).to_owned(),
            code_env: None,
            os_user: None,
            deadline_ms: None,
            enabled: None,
            on_interrupt: None,
        };
        let hooks = codes.iter().enumerate().map(input).collect();
        hooks::set_hooks(&self.deployer, &self.admin, &infrastructure.id, phase, hooks, infrastructure.version)
            .await
            .unwrap();
    }

    /// Uploads a bundle.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn bundle(&self, spec: &BundleSpec) -> BundleKey {
        let archive = futures_util::stream::iter([Ok::<_, std::io::Error>(sample_bundle(spec).into())]);
        let upload = bundles::upload(&self.deployer, &self.admin, None, "bundle.zip", archive, 1 << 30).await.unwrap();
        upload.bundle.key
    }

    /// A deployment under a project key of its own on the node.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn deployment(&self, id: &str, infrastructure: &str, bundle: &BundleKey, on_node: &str) -> Deployment {
        let new = NewDeployment {
            id: id.to_owned(),
            project_key: bundle.project_key.clone(),
            infrastructure_id: infrastructure.to_owned(),
            bundle_id: bundle.bundle_id.clone(),
            deployed_project_key: Some(on_node.to_owned()),
            ..Default::default()
        };
        deployments::create(&self.deployer, &self.admin, new).await.unwrap()
    }

    /// Starts an update.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn start(&self, deployment: &str) -> RunId {
        updates::start(&self.deployer, &self.admin, deployment, None).await.unwrap().update.id
    }

    /// Waits for an update's end.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn over(&self, run: RunId) -> Loaded {
        history::until_over(&self.base.db, run, PATIENCE).await
    }
}
