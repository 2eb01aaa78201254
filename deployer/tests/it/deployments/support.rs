//! A deployer on a fresh database, with one infrastructure, one published project, one bundle and one deployment of it.

use std::{
    collections::BTreeSet,
    io::{Cursor, Write as _},
    sync::Arc,
};

use bytes::Bytes;
use deployer::{
    Deployer,
    accounts::{groups, users},
    bundles::{self, BundleKey, Upload},
    deployments::{self, Deployment, NewDeployment},
    error::{Error, Result},
    infrastructures::{self, NewInfrastructure, Permission, SettingsPatch},
    projects,
    rights::Level,
    viewer::{Origin, Viewer},
};
use engine::{
    bell::Bell,
    db::{Db, Use},
    ids::{RunId, WorkerId},
    journal::{Kind, NewEvent},
    leases::{Lease, LeaseSettings},
    packages::PackageStore,
    queue::Queue,
    runs::{self, Answer, Op, Writer},
    secrets::{Keyring, Secret},
};
use futures_util::stream;
use serde_json::{Value, json};
use targets::{
    Targets,
    http::{HttpSettings, install_crypto_provider},
};
use zip::{ZipWriter, write::SimpleFileOptions};

pub(crate) const LEVELS: [(&str, Level); 4] =
    [("none", Level::None), ("view", Level::View), ("deploy", Level::Deploy), ("admin", Level::Admin)];
pub(crate) const RIGHTS: [&str; 5] = ["none", "read", "write", "deploy", "admin"];
/// More than any bundle here.
pub(crate) const LIMIT: u64 = 1 << 20;

pub(crate) struct World {
    pub(crate) deployer: Deployer,
    /// A global administrator.
    pub(crate) root: Viewer,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn viewer(login: &str, groups: &[&str]) -> Viewer {
    let groups: BTreeSet<_> = groups.iter().map(|group| (*group).to_owned()).collect();
    Viewer { login: login.to_owned(), display_name: login.to_owned(), groups, key_id: None, origin: Origin::default() }
}

/// Infrastructure `PROD`, published project `CHURN` with bundle `v1`; groups `on-*` per level and `of-*` per right.
pub(crate) async fn world() -> World {
    world_at("http://127.0.0.1:1").await
}

pub(crate) async fn world_at(node_url: &str) -> World {
    install_crypto_provider();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let db = Db::open(&database(&at("slipway.db")).await, Use::Shared(4)).await.unwrap();
    migration::migrate(db.pool()).await.unwrap();
    let deployer = Deployer {
        db,
        keyring: Arc::new(Keyring::generate()),
        packages: Arc::new(PackageStore::open(at("packages"), &folder.path().join("staging")).unwrap()),
        targets: Arc::new(Targets::new(HttpSettings::default()).unwrap()),
        queue: Queue::embedded(),
        query_logs: deployer::services::QueryLogs::default(),
        audit: deployer::audit::Ledger::default(),
    };
    let world = World { deployer, root: viewer("root", &["administrators"]), folder };
    world.account("root").await;
    for (name, _) in LEVELS {
        groups::create(&world.deployer, &world.root, &format!("on-{name}"), "").await.unwrap();
    }
    for name in RIGHTS {
        groups::create(&world.deployer, &world.root, &format!("of-{name}"), "").await.unwrap();
    }
    world.infrastructure("PROD", node_url).await;
    world.upload(&world.root, Some("CHURN"), &bundle("CHURN", "v1")).await.unwrap();
    let permissions = RIGHTS.iter().skip(1).map(|right| permission(&format!("of-{right}"), right)).collect();
    world.set_permissions("CHURN", permissions).await;
    world
}

/// A new database: SQLite, or on the PostgreSQL server that the environment names (`postgres://USER@HOST:PORT`).
async fn database(file: &str) -> String {
    use sea_orm::ConnectionTrait as _;
    let Ok(server) = std::env::var("SLIPWAY_TEST_POSTGRES") else { return format!("sqlite://{file}") };
    let name = format!("deployments_{}", engine::ids::fresh());
    let admin = sea_orm::Database::connect(format!("{server}/postgres")).await.unwrap();
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    admin.close().await.unwrap();
    format!("{server}/{name}")
}

pub(crate) fn permission(group: &str, right: &str) -> projects::Permission {
    projects::Permission {
        group: group.to_owned(),
        read: right == "read",
        write: right == "write",
        deploy: right == "deploy",
        admin: right == "admin",
    }
}

impl World {
    pub(crate) async fn infrastructure(&self, id: &str, node_url: &str) {
        let permissions =
            LEVELS.iter().skip(1).map(|(name, level)| Permission { group: format!("on-{name}"), level: *level });
        let new = NewInfrastructure {
            id: id.to_owned(),
            stage: "Test".to_owned(),
            settings: SettingsPatch {
                node_url: Some(node_url.to_owned()),
                connection_remapping: Some(vec![targets::spec::ConnectionRemapping {
                    source: "sql-dev".to_owned(),
                    target: "sql-prod".to_owned(),
                }]),
                ..Default::default()
            },
            admin_key: Some(Secret::from("node-key".to_owned())),
            permissions: permissions.collect(),
            ..Default::default()
        };
        infrastructures::create(&self.deployer, &self.root, new).await.unwrap();
    }

    pub(crate) async fn set_permissions(&self, project: &str, permissions: Vec<projects::Permission>) {
        let version = projects::get(&self.deployer, &self.root, project).await.unwrap().unwrap().version;
        let change =
            projects::Change { expected_version: version, permissions: Some(permissions), ..Default::default() };
        projects::update(&self.deployer, &self.root, project, change).await.unwrap();
    }

    /// Somebody with this level on every infrastructure here and this right on `CHURN`, as an account.
    pub(crate) async fn somebody(&self, level: &str, right: &str) -> Viewer {
        let login = format!("{level}-{right}");
        let groups = [format!("on-{level}"), format!("of-{right}")];
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let new = users::NewUser { login: login.clone(), groups: viewer("", &groups).groups, ..Default::default() };
        users::create(&self.deployer, &self.root, new).await.unwrap();
        viewer(&login, &groups)
    }

    /// Somebody in no group, as an account.
    pub(crate) async fn account(&self, login: &str) -> Viewer {
        let new = users::NewUser { login: login.to_owned(), ..Default::default() };
        users::create(&self.deployer, &self.root, new).await.unwrap();
        viewer(login, &[])
    }

    pub(crate) async fn upload(&self, viewer: &Viewer, project: Option<&str>, archive: &[u8]) -> Result<Upload> {
        let pieces: Vec<std::io::Result<Bytes>> =
            archive.chunks(64).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        bundles::upload(&self.deployer, viewer, project, "bundle.zip", stream::iter(pieces), LIMIT).await
    }

    pub(crate) async fn deployment(&self, id: &str, deployed: &str) -> Deployment {
        deployments::create(&self.deployer, &self.root, new_deployment(id, deployed)).await.unwrap()
    }

    /// Files in the package store and in its staging folder.
    pub(crate) fn stored(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.folder.path().join("packages")) + count(&self.folder.path().join("staging"))
    }

    /// A worker that writes what it is told.
    pub(crate) async fn worker(&self) -> Worker {
        let db = &self.deployer.db;
        let lease = Lease::register(db, None, "test", &json!({}), &LeaseSettings::default()).await.unwrap();
        Worker {
            db: db.clone(),
            worker: lease.worker,
            writer: Writer::start(db, Bell::embedded()).await.unwrap(),
            _lease: lease,
        }
    }

    pub(crate) async fn sql(&self, sql: &str) {
        use sea_orm::ConnectionTrait as _;
        self.deployer.db.pool().execute_unprepared(sql).await.unwrap();
    }
}

pub(crate) struct Worker {
    db: Db,
    worker: WorkerId,
    writer: Writer,
    _lease: Lease,
}

impl Worker {
    /// Takes the run and starts its first step.
    pub(crate) async fn claim(&self, run: RunId) {
        let claimed = NewEvent::run(Kind::claimed(self.worker, false));
        self.write(run, &[claimed, NewEvent::step(0, 1, Kind::StepStarted)], true).await;
    }

    pub(crate) async fn write(&self, run: RunId, events: &[NewEvent], claim: bool) {
        // At most two events in one write.
        for pair in events.chunks(2) {
            let state = runs::load(self.db.pool(), run).await.unwrap().unwrap().state;
            let op = if claim { Op::claim(run, &state, self.worker, pair) } else { Op::append(run, &state, pair) };
            let answer = self.writer.write(op.unwrap()).await;
            assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
        }
    }

    /// Ends step `from` and starts the next, up to and with the end of step `to`.
    pub(crate) async fn succeed(&self, run: RunId, from: usize, to: usize, output: Value) {
        for step in from..=to {
            let done = Kind::StepSucceeded { output: output.clone(), warnings: Vec::new() };
            self.write(run, &[NewEvent::step(step, 1, done)], false).await;
            if step < to {
                self.write(run, &[NewEvent::step(step + 1, 1, Kind::StepStarted)], false).await;
            }
        }
    }
}

pub(crate) fn new_deployment(id: &str, deployed: &str) -> NewDeployment {
    NewDeployment {
        id: id.to_owned(),
        project_key: "CHURN".to_owned(),
        infrastructure_id: "PROD".to_owned(),
        bundle_id: "v1".to_owned(),
        deployed_project_key: Some(deployed.to_owned()),
        ..Default::default()
    }
}

pub(crate) fn key(project: &str, bundle: &str) -> BundleKey {
    BundleKey { project_key: project.to_owned(), bundle_id: bundle.to_owned() }
}

pub(crate) fn bundle(project: &str, id: &str) -> Vec<u8> {
    let manifest = json!({
        "bundleId": id,
        "projectKey": project,
        "connections": [{ "name": "sql-dev", "type": "PostgreSQL" }],
        "scenarios": [{ "id": "DAILY", "active": true }],
        "releaseNotes": "first",
    });
    zip_of(&[("bundle-manifest.json", manifest.to_string().as_bytes()), ("project/data.txt", id.as_bytes())])
}

pub(crate) fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The code of the first refusal, or `OK`, or `FAULT`.
pub(crate) fn code<T>(result: &Result<T>) -> &'static str {
    match result {
        Ok(_) => "OK",
        Err(Error::Refused(refusals)) => refusals[0].code,
        Err(Error::Fault(_)) => "FAULT",
    }
}

/// Code and field of each refusal.
pub(crate) fn problems<T: std::fmt::Debug>(result: Result<T>) -> Vec<(&'static str, String)> {
    match result {
        Err(Error::Refused(refusals)) => refusals.into_iter().map(|r| (r.code, r.field.unwrap_or_default())).collect(),
        other => panic!("{other:?}"),
    }
}
