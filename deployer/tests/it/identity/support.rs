//! A deployer on a fresh database.

use std::{collections::BTreeSet, sync::Arc};

use deployer::{
    Deployer,
    accounts::{groups, users},
    bootstrap,
    error::{Error, Refusal, Result},
    infrastructures::{self, Infrastructure, NewInfrastructure, Permission, SettingsPatch},
    keys,
    rights::Level,
    viewer::{Origin, Viewer},
};
use engine::{
    db::{Db, Use},
    packages::PackageStore,
    queue::Queue,
    secrets::{Keyring, Secret},
};
use targets::{
    Targets,
    http::{HttpSettings, install_crypto_provider},
};

/// A deployer with groups `ops`, `dev` and `other`, and `admin` in `administrators`.
pub(crate) struct House {
    pub(crate) deployer: Deployer,
    pub(crate) admin: Viewer,
    _folder: tempfile::TempDir,
}

pub(crate) async fn empty() -> House {
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
    House { deployer, admin: viewer("admin", &["administrators"]), _folder: folder }
}

/// A SQLite file; or, with `SLIPWAY_TEST_POSTGRES=postgres://USER@HOST:PORT` (no database name), a new database on that server.
async fn database(file: &str) -> String {
    use sea_orm::ConnectionTrait as _;
    let Ok(server) = std::env::var("SLIPWAY_TEST_POSTGRES") else { return format!("sqlite://{file}") };
    let name = format!("t{:016x}", engine::clock::random_u64());
    let postgres = Db::open(&format!("{server}/postgres"), Use::Shared(1)).await.unwrap();
    postgres.pool().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    format!("{server}/{name}")
}

pub(crate) async fn house() -> House {
    let mut house = empty().await;
    let key = bootstrap::first_start(&house.deployer.db, None).await.unwrap().unwrap();
    house.admin = keys::authenticate(&house.deployer.db, key.expose()).await.unwrap().unwrap();
    for group in ["ops", "dev", "other"] {
        groups::create(&house.deployer, &house.admin, group, "").await.unwrap();
    }
    house
}

/// Somebody who is signed in, as if with a key.
pub(crate) fn viewer(login: &str, groups: &[&str]) -> Viewer {
    Viewer {
        login: login.to_owned(),
        display_name: login.to_owned(),
        groups: set(groups),
        key_id: None,
        origin: Origin::default(),
    }
}

pub(crate) fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

impl House {
    pub(crate) async fn user(&self, login: &str, groups: &[&str]) -> Viewer {
        let new = users::NewUser { login: login.to_owned(), groups: set(groups), ..Default::default() };
        users::create(&self.deployer, &self.admin, new).await.unwrap();
        viewer(login, groups)
    }

    /// An infrastructure with a key, on which `ops` has Admin, and `dev` what `level` says.
    pub(crate) async fn infrastructure(&self, id: &str, level: Level) -> Infrastructure {
        let mut permissions = vec![Permission { group: "ops".to_owned(), level: Level::Admin }];
        if level != Level::None {
            permissions.push(Permission { group: "dev".to_owned(), level });
        }
        let new = NewInfrastructure {
            id: id.to_owned(),
            stage: "Test".to_owned(),
            settings: SettingsPatch { node_url: Some("https://node.example.com".to_owned()), ..Default::default() },
            admin_key: Some(Secret::from("node-key".to_owned())),
            permissions,
            ..Default::default()
        };
        infrastructures::create(&self.deployer, &self.admin, new).await.unwrap()
    }

    pub(crate) async fn sql(&self, sql: &str) {
        use sea_orm::ConnectionTrait as _;
        self.deployer.db.pool().execute_unprepared(sql).await.unwrap();
    }
}

/// Code and field of each refusal.
pub(crate) fn refusals<T: std::fmt::Debug>(result: Result<T>) -> Vec<Refusal> {
    match result {
        Err(Error::Refused(all)) => all,
        other => panic!("{other:?}"),
    }
}

/// The code of the one refusal.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    let all = refusals(result);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].code
}
