//! `slipway demo`: one deployment from end to end, on a practice node, through the same API that everybody uses.

mod after;
mod scene;

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, process::ExitCode};

use ::worker::Worker;
use engine::{
    clock,
    secrets::{ApiKey, Secret},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{api, dev, listen, sandbox, say, signals::Signals, worker};
use crate::{args::Demo, client::Client, config::Config, failure::Failure, telemetry};

pub(crate) async fn run(args: Demo, mut config: Config) -> Result<ExitCode, Failure> {
    // The display tells what happens; the log only what goes wrong.
    config.log.filter = "warn".to_owned();
    telemetry::start(&config.log)?;
    // Before there is a folder: whoever stops the demo, however early, finds nothing left.
    let mut signals = Signals::listen()?;
    let private = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("slipway-demo-").permissions(private).tempdir()?;
    let stage = tokio::select! {
        stage = Stage::set(&args, config, folder.path()) => stage?,
        () = signals.next() => return Err(stopped()),
    };
    let played = tokio::select! {
        played = stage.play() => played,
        () = signals.next() => Err(stopped()),
    };
    let shown = match played {
        Ok(true) if args.exit => Ok(true),
        Ok(true) => match after::what_next(&stage.base, &stage.key) {
            Ok(()) => {
                signals.next().await;
                say("").map(|()| true)
            }
            Err(failure) => Err(failure),
        },
        Ok(false) => Ok(false),
        Err(failure) if failure.is_closed_pipe() => Err(failure),
        Err(failure) => say(format!("The demo could not go on: {failure}")).map(|()| false),
    };
    stage.clear().await;
    Ok(if shown? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stopped() -> Failure {
    Failure::new("INTERRUPTED", "stopped before the update had ended")
}

/// Everything that runs.
struct Stage {
    base: String,
    key: String,
    node: ::sandbox::RunningNode,
    node_key: Secret,
    python: bool,
    worker: Worker,
    working: JoinHandle<()>,
    serving: JoinHandle<Result<(), Failure>>,
    shutdown: CancellationToken,
}

impl Stage {
    async fn set(args: &Demo, config: Config, folder: &Path) -> Result<Self, Failure> {
        let mut config = dev::embedded(config, folder)?;
        let listener = listen(args.listen, "--listen; 127.0.0.1:0 takes a free port").await?;
        let address = listener.local_addr()?;
        let base = format!("http://{address}");
        dev::reach_itself(&mut config, address);
        let node_key = Secret::new(format!("practice-{:016x}", clock::random_u64()));
        let node = sandbox::practice(node_key.expose()).start(([127, 0, 0, 1], 0).into()).await?;
        let parts = dev::open(&config).await?;
        let given = crate::parts::given_admin_key();
        let made = deployer::bootstrap::first_start(&parts.deployer.db, given.as_ref()).await?;
        let key = made.map(|key| key.expose().to_owned()).unwrap_or_default();
        debug_assert!(ApiKey::parse(&key).is_some());
        let python = config.worker.settings.hooks.interpreter(None).is_some_and(|program| program.is_file());
        let worker = worker::start(&parts, &config).await?;
        let shutdown = CancellationToken::new();
        let working = tokio::spawn({
            let worker = worker.clone();
            async move { worker.run().await }
        });
        let serving = tokio::spawn({
            let (worker, shutdown) = (worker.clone(), shutdown.clone());
            async move { api::serve(&parts, &config, listener, Some(&worker), shutdown).await }
        });
        Ok(Self { base, key, node, node_key, python, worker, working, serving, shutdown })
    }

    async fn play(&self) -> Result<bool, Failure> {
        say(format!("Slipway runs at {}, a practice Automation node at {}.", self.base, self.node.url()))?;
        let client = Client::new(&self.base, &self.key)?;
        scene::play(&client, &self.node.url(), &self.node_key, self.python).await
    }

    async fn clear(self) {
        self.shutdown.cancel();
        self.worker.stop_now();
        let _ = self.working.await;
        let _ = self.serving.await;
        self.node.stop().await;
    }
}
