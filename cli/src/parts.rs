//! What every command that touches the installation is made of.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

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
    /// Held while the process lives.
    _lock: Option<File>,
}

impl Parts {
    /// Opens them as the configuration says.
    pub(crate) async fn open(config: &Config) -> Result<Self, Failure> {
        let lock = lock(config)?;
        let db = migrated(config).await?;
        Self::assemble(config, db, lock).await
    }

    /// All of them around an open database.
    pub(crate) async fn assemble(config: &Config, db: Db, lock: Option<File>) -> Result<Self, Failure> {
        let redis = config.queue.redis()?;
        let keyring = Arc::new(keyring(config)?);
        let unknown = deployer::sealed::unknown_keys(&db, Some(&keyring)).await?;
        if !unknown.is_empty() {
            tracing::warn!(keys = ?unknown, "SECRET_KEY_UNKNOWN: secrets are sealed with master keys that are not here");
        }
        let packages = package_store(config).await?;
        let mut host = config.targets.clone();
        host.copy_supervisor = ["/proc/self/exe", "copy-exec", "--"].map(str::to_owned).to_vec();
        let targets = Targets::on_host(config.nodes.http()?, host)
            .map_err(|error| Failure::new("INTERNAL", error.to_string()))?;
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
        let deployer = Deployer {
            db,
            keyring,
            packages: Arc::new(packages),
            targets: Arc::new(targets),
            queue,
            query_logs: deployer::services::QueryLogs::default(),
            audit: deployer::audit::Ledger::default(),
        };
        Ok(Self { deployer, bell, _lock: lock })
    }
}

/// Opens the database.
pub(crate) async fn database(config: &Config) -> Result<Db, Failure> {
    let url = &config.database.url;
    if url.is_empty() {
        return Err(Failure::new(
            "CONFIG_INVALID",
            "database.url is empty. Set it in the configuration file or as SLIPWAY_DATABASE_URL; `slipway dev` brings its own.",
        ));
    }
    engine::db::check_address(url)
        .map_err(|error| Failure::new("CONFIG_INVALID", format!("database.url is wrong: {error}.")))?;
    Db::open(url, Use::Shared(config.database.connections.max(2))).await.map_err(|error| {
        Failure::new("DATABASE_UNAVAILABLE", format!("{error}. Check database.url, and whether the database runs."))
    })
}

/// Opens a database whose schema is up to date.
pub(crate) async fn migrated(config: &Config) -> Result<Db, Failure> {
    let db = database(config).await?;
    match migration::pending(db.pool()).await? {
        0 => Ok(db),
        _ => Err(Failure::new(
            "DATABASE_NOT_MIGRATED",
            "The database's schema is not up to date. Run `slipway migrate` first.",
        )),
    }
}

/// A queue in memory wakes one process alone: on SQLite without Redis, a lock beside the database's file keeps a second one out.
pub(crate) fn lock(config: &Config) -> Result<Option<File>, Failure> {
    let Some(file) = config.database.url.strip_prefix("sqlite://").filter(|_| config.queue.redis_url.is_empty()) else {
        return Ok(None);
    };
    let file = file.split('?').next().unwrap_or_default();
    let path = format!("{file}.lock");
    let failed = |error: std::io::Error| Failure::io(format!("the lock {path}: {error}"));
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            "DATA_IN_USE",
            format!(
                "Another Slipway process works with {file}. Without Redis only one may: stop that one first, or name another place (`slipway dev` has \
                 --data-dir)."
            ),
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The master key that the environment gives, if it does: it goes before the file.
pub(crate) fn given_master_key() -> Option<Secret> {
    std::env::var("SLIPWAY_MASTER_KEY").ok().filter(|key| !key.is_empty()).map(Secret::new)
}

/// The file of the master key.
pub(crate) fn master_key_file(config: &Config) -> Result<&Path, Failure> {
    match config.secrets.master_key_file.as_str() {
        "" => Err(Failure::new(
            "MASTER_KEY_UNREADABLE",
            "There is no master key. Make one with `slipway secrets generate-key FILE`, and name the file in secrets.master_key_file.",
        )),
        file => Ok(Path::new(file)),
    }
}

/// Reads the master key from the environment, else from its file.
pub(crate) fn keyring(config: &Config) -> Result<Keyring, Failure> {
    let ring = match given_master_key() {
        Some(text) => Keyring::parse(text.expose()),
        None => Keyring::load(master_key_file(config)?),
    };
    ring.map_err(|error| Failure::new(error.code().as_str(), error.to_string()))
}

/// The administrator's first key, if the environment gives one.
pub(crate) fn given_admin_key() -> Option<Secret> {
    std::env::var("SLIPWAY_ADMIN_KEY").ok().filter(|key| !key.is_empty()).map(Secret::new)
}

/// Refuses a given key that is none, before anything is made.
pub(crate) fn check_given_admin_key() -> Result<(), Failure> {
    given_admin_key().as_ref().map(deployer::bootstrap::parse_given_key).transpose()?;
    Ok(())
}

async fn package_store(config: &Config) -> Result<PackageStore, Failure> {
    let packages = &config.packages;
    if packages.location.is_empty() {
        return Err(Failure::new(
            "CONFIG_INVALID",
            "packages.location is empty. Name a folder or a bucket that all API and worker processes share.",
        ));
    }
    let staging = if packages.staging.is_empty() {
        std::env::temp_dir().join("slipway-staging")
    } else {
        packages.staging.clone().into()
    };
    PackageStore::at(&packages.location, &staging)
        .await
        .map_err(|error| Failure::new(error.code().as_str(), error.to_string()))
}
