//! `slipway demo`: one deployment from end to end, on a practice node, through the same API that everybody uses.

mod scene;
mod show;

use std::process::ExitCode;

use engine::{
    clock,
    secrets::{ApiKey, Secret},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{api, dev, sandbox, say, signals::Signals, worker};
use crate::{args::Demo, client::Client, config::Config, failure::Failure, telemetry};

pub(crate) async fn run(args: Demo, mut config: Config) -> Result<ExitCode, Failure> {
    // The display tells what happens; the log only what goes wrong.
    config.log.filter = "warn".to_owned();
    telemetry::start(&config.log)?;
    let folder = tempfile::Builder::new().prefix("slipway-demo-").tempdir()?;
    let config = dev::embedded(config, folder.path())?;
    let node_key = Secret::new(format!("practice-{:016x}", clock::random_u64()));
    let node = sandbox::practice(node_key.expose()).start(([127, 0, 0, 1], 0).into()).await?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::new("ADDRESS_IN_USE", format!("{}: {error}. Name another one with --listen 127.0.0.1:0.", args.listen))
    })?;
    let base = format!("http://{}", listener.local_addr()?);
    let (parts, key) = dev::open(&config).await?;
    let key = match key {
        Some(key) => key.expose().to_owned(),
        None => crate::parts::given_admin_key().map(|key| key.expose().to_owned()).unwrap_or_default(),
    };
    debug_assert!(ApiKey::parse(&key).is_some());
    let shutdown = CancellationToken::new();
    let worker = worker::start(&parts, &config).await?;
    let working = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    let serving = tokio::spawn({
        let (config, worker, shutdown) = (config.clone(), worker.clone(), shutdown.clone());
        async move { api::serve(&parts, &config, listener, Some(&worker), shutdown).await }
    });

    say(format!("Slipway runs at {base}, a practice Automation node at {}.", node.url()));
    let client = Client::new(&base, &key)?;
    let node_url = node.url();
    let python = config.worker.settings.hooks.interpreter(None).is_some_and(|program| program.is_file());
    let mut signals = Signals::listen()?;
    let succeeded = tokio::select! {
        played = scene::play(&client, &node_url, &node_key, python) => played,
        () = signals.next() => Err(Failure::new("INTERRUPTED", "stopped before the update had ended")),
    };
    let succeeded = match succeeded {
        Ok(succeeded) => succeeded,
        Err(failure) => {
            say(format!("The demo could not go on: {failure}"));
            false
        }
    };
    if !args.exit && succeeded {
        show::what_next(&base, &key);
        signals.next().await;
        say("");
    }
    shutdown.cancel();
    worker.stop_now();
    let _ = working.await;
    let _ = serving.await;
    node.stop().await;
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
