//! What every command that touches the installation is made of.

use std::{path::Path, sync::Arc};

use deployer::Deployer;
use engine::{
    bell::Bell,
    db::{Db, Use},
    packages::PackageStore,
    queue::Queue,
    secrets::{Keyring, Secret},
};
use targets::Targets;

use crate::{config::Config, failure::Failure};

/// The parts of one process.
pub(crate) struct Parts {
    pub(crate) deployer: Deployer,
    pub(crate) bell: Bell,
}

impl Parts {
    /// Opens them as the configuration says.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        let redis = config.queue.redis()?;
        let db = database(config).await?;
        let keyring = Arc::new(keyring(config)?);
        let packages = package_store(config)?;
        let targets =
            Targets::new(config.nodes.http()?).map_err(|error| Failure::new("INTERNAL", error.to_string()))?;
        let (queue, bell) = match redis {
            Some(redis) => {
                (Queue::redis(redis.clone(), &config.queue.prefix), Bell::redis(&redis, &config.queue.prefix))
            }
            None if !db.is_sqlite() => {
                return Err(Failure::new(
                    "CONFIG_INVALID",
                    "queue.redis_url is empty. A fleet on PostgreSQL needs Redis to wake its workers; `slipway dev` needs neither.",
                ));
            }
            None => (Queue::embedded(), Bell::embedded()),
        };
        let deployer = Deployer { db, keyring, packages: Arc::new(packages), targets: Arc::new(targets), queue };
        Ok(Self { deployer, bell })
    }
}

/// Opens the database.
pub(crate) async fn database(config: &Config) -> Result<Db, Failure> {
    if config.database.url.is_empty() {
        return Err(Failure::new(
            "CONFIG_INVALID",
            "database.url is empty. Set it in the configuration file or as SLIPWAY_DATABASE_URL; `slipway dev` brings its own.",
        ));
    }
    Db::open(&config.database.url, Use::Shared(config.database.connections.max(2))).await.map_err(|error| {
        Failure::new("DATABASE_UNAVAILABLE", format!("{error}. Check database.url, and whether the database runs."))
    })
}

/// Reads the master key from the environment, else from its file.
pub(crate) fn keyring(config: &Config) -> Result<Keyring, Failure> {
    let failed = |error: engine::secrets::SecretsError| Failure::new(error.code().as_str(), error.to_string());
    match std::env::var("SLIPWAY_MASTER_KEY") {
        Ok(text) if !text.is_empty() => Keyring::parse(&text).map_err(failed),
        _ if config.secrets.master_key_file.is_empty() => Err(Failure::new(
            "MASTER_KEY_UNREADABLE",
            "There is no master key. Make one with `slipway secrets generate-key FILE`, and name the file in secrets.master_key_file.",
        )),
        _ => Keyring::load(Path::new(&config.secrets.master_key_file)).map_err(failed),
    }
}

/// The administrator's first key, if the environment gives one.
pub(crate) fn given_admin_key() -> Option<Secret> {
    std::env::var("SLIPWAY_ADMIN_KEY").ok().filter(|key| !key.is_empty()).map(Secret::new)
}

fn package_store(config: &Config) -> Result<PackageStore, Failure> {
    let packages = &config.packages;
    if packages.location.is_empty() {
        return Err(Failure::new(
            "CONFIG_INVALID",
            "packages.location is empty. Name a folder that all API and worker processes share.",
        ));
    }
    let staging = if packages.staging.is_empty() {
        std::env::temp_dir().join("slipway-staging")
    } else {
        packages.staging.clone().into()
    };
    PackageStore::open(&packages.location, &staging)
        .map_err(|error| Failure::new(error.code().as_str(), error.to_string()))
}
