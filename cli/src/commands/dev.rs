//! `slipway dev`: everything in one process.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use engine::{db::Db, secrets::Keyring};
use tokio_util::sync::CancellationToken;

use super::{api, listen, say, show_first_key, signals::Signals, worker};
use crate::{args::Dev, config::Config, failure::Failure, parts, parts::Parts};

pub(crate) async fn run(args: Dev, config: Config) -> Result<(), Failure> {
    let mut config = embedded(config, &args.data_dir)?;
    let listener = listen(args.listen.unwrap_or(config.api.listen), "--listen or api.listen").await?;
    let address = listener.local_addr()?;
    reach_itself(&mut config, address);
    let parts = open(&config).await?;
    let mut signals = Signals::listen()?;
    let shutdown = CancellationToken::new();
    let worker = worker::start(&parts, &config).await?;
    // Last of all that may fail: a key that is made is shown.
    show_first_key(&parts.deployer.db).await?;
    say(format!("GraphiQL: http://{address}/graphiql"))?;
    let working = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    let serving = worker.clone();
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("draining: no new runs; once more to stop at once");
        stopping.cancel();
        worker.drain();
        signals.next().await;
        worker.stop_now();
    });
    api::serve(&parts, &config, listener, Some(&serving), shutdown).await?;
    let _ = working.await;
    Ok(())
}

/// Hooks of this process find the API that it serves.
pub(crate) fn reach_itself(config: &mut Config, address: SocketAddr) {
    let url = &mut config.worker.settings.hooks.deployer_url;
    if url.is_empty() {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        *url = format!("http://{}", SocketAddr::new(ip, address.port()));
    }
}

/// The embedded size of a configuration: all data in one folder.
pub(crate) fn embedded(mut config: Config, data_dir: &Path) -> Result<Config, Failure> {
    // Nobody else on this machine: the database holds hooks' code and variables.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    let data_dir = made.and_then(|()| data_dir.canonicalize()).map_err(|error| {
        Failure::io(format!(
            "the data folder {} cannot be used: {error}. Name another one with --data-dir.",
            data_dir.display()
        ))
    })?;
    let inside = |name: &str| data_dir.join(name).display().to_string();
    config.database.url = format!("sqlite://{}", inside("slipway.db"));
    config.queue.redis_url = String::new();
    config.packages.location = inside("packages");
    config.packages.staging = inside("staging");
    config.secrets.master_key_file = inside("master.key");
    Ok(config)
}

/// Opens the embedded size: by one process alone, migrated, with a master key.
pub(crate) async fn open(config: &Config) -> Result<Parts, Failure> {
    parts::check_given_admin_key()?;
    let lock = parts::lock(config)?;
    let db = parts::database(config).await?;
    migration::migrate(db.pool()).await?;
    make_master_key(config, &db).await?;
    Parts::assemble(config, db, lock).await
}

/// A new installation gets a master key. One that has sealed secrets does not: another key opens none of them.
async fn make_master_key(config: &Config, db: &Db) -> Result<(), Failure> {
    let file = PathBuf::from(&config.secrets.master_key_file);
    if parts::given_master_key().is_some() || file.exists() {
        return Ok(());
    }
    let needed = deployer::sealed::unknown_keys(db, None).await?;
    if !needed.is_empty() {
        let (file, ids) = (file.display(), needed.into_iter().collect::<Vec<_>>().join(", "));
        return Err(Failure::new(
            "SECRET_KEY_UNKNOWN",
            format!(
                "{file} is gone, and the database holds secrets that were sealed with master key {ids}. Put the file back from its backup. If it is \
                 lost for good, make a new one with `slipway secrets generate-key {file}`, and enter the nodes' keys again."
            ),
        ));
    }
    Keyring::create(&file).map_err(|error| Failure::new(error.code().as_str(), error.to_string()))?;
    Ok(())
}
