//! `slipway dev`: everything in one process.

use std::{os::unix::fs::DirBuilderExt, path::Path};

use engine::secrets::{ApiKey, Keyring};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{api, say, signals::Signals, worker};
use crate::{args::Dev, config::Config, failure::Failure, parts, parts::Parts};

pub(crate) async fn run(args: Dev, config: Config) -> Result<(), Failure> {
    let config = embedded(config, &args.data_dir)?;
    let listener = TcpListener::bind(args.listen.unwrap_or(config.api.listen)).await?;
    let address = listener.local_addr()?;
    let (parts, key) = open(&config).await?;
    if let Some(key) = key {
        say("The first administrator is `admin`. Its key, shown this once:");
        say(key.expose());
    }
    say(format!("GraphiQL: http://{address}/graphiql"));
    let mut signals = Signals::listen()?;
    let shutdown = CancellationToken::new();
    let worker = worker::start(&parts, &config).await?;
    let working = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    let serving = worker.clone();
    let stopping = shutdown.clone();
    tokio::spawn(async move {
        signals.next().await;
        stopping.cancel();
        worker.drain();
        signals.next().await;
        worker.stop_now();
    });
    api::serve(&parts, &config, listener, Some(&serving), shutdown).await?;
    let _ = working.await;
    Ok(())
}

/// The embedded size of a configuration: all data in one folder.
pub(crate) fn embedded(mut config: Config, data_dir: &Path) -> Result<Config, Failure> {
    // Nobody else on this machine: the database holds hooks' code and variables.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let data_dir = data_dir.canonicalize()?;
    let inside = |name: &str| data_dir.join(name).display().to_string();
    config.database.url = format!("sqlite://{}", inside("slipway.db"));
    config.queue.redis_url = String::new();
    config.packages.location = inside("packages");
    config.packages.staging = inside("staging");
    let key = data_dir.join("master.key");
    if !key.exists() {
        Keyring::create(&key).map_err(|error| Failure::new(error.code().as_str(), error.to_string()))?;
    }
    config.secrets.master_key_file = key.display().to_string();
    Ok(config)
}

/// Opens the embedded size: migrated, with its first administrator. Answers the key if it was made now.
pub(crate) async fn open(config: &Config) -> Result<(Parts, Option<ApiKey>), Failure> {
    let parts = Parts::open(config).await?;
    migration::migrate(parts.deployer.db.pool()).await?;
    let given = parts::given_admin_key();
    let made = deployer::bootstrap::first_start(&parts.deployer.db, given.as_ref()).await?;
    Ok((parts, made.filter(|_| given.is_none())))
}
