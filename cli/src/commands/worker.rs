//! `slipway worker`.

use std::{sync::Arc, time::Duration};

use api::health::Checked;
use deployer::{bootstrap::Operator, workers};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use worker::{Worker, WorkerSettings, hooks::Supervisor};

use super::{listen, say, signals::Signals};
use crate::{
    args::{WorkerArgs, WorkerCommand},
    config::Config,
    failure::Failure,
    fleet, house,
    parts::{self, Parts},
};

/// Connections at once for health and metrics.
const CONNECTIONS: usize = 256;

pub(crate) async fn run(args: WorkerArgs, mut config: Config) -> Result<(), Failure> {
    if let Some(WorkerCommand::Drain { worker }) = args.command {
        return drain(&worker, &config).await;
    }
    if let Some(seconds) = args.drain_timeout {
        config.worker.settings.drain_ms = seconds.saturating_mul(1_000);
    }
    let parts = Parts::open(&config).await?;
    let listener = listen(args.listen.unwrap_or(config.worker.listen), "--listen or worker.listen").await?;
    let worker = start(&parts, &config).await?;
    let shutdown = CancellationToken::new();
    let health = tokio::spawn(serve_health(worker.clone(), parts.deployer.clone(), listener, shutdown.clone()));
    let mut signals = Signals::listen()?;
    let stopping = worker.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("draining: no new runs; once more to stop at once");
        stopping.drain();
        signals.next().await;
        tracing::warn!("stopping at once: hooks are ended, runs are given back");
        stopping.stop_now();
    });
    worker.run().await;
    shutdown.cancel();
    match health.await {
        Ok(served) => served,
        Err(_) => Ok(()),
    }
}

/// Asks workers to drain, straight at the database.
async fn drain(name: &str, config: &Config) -> Result<(), Failure> {
    let db = parts::database(config).await?;
    for worker in workers::drain_named(&db, Operator::at_the_database(), name).await? {
        let left = worker.left.len();
        say(format!("Worker {} ({}) was asked to drain; it drives {left} updates.", worker.name, worker.id))?;
    }
    Ok(())
}

/// Makes the process fit to run hooks, and the worker.
pub(crate) async fn start(parts: &Parts, config: &Config) -> Result<Worker, Failure> {
    worker::hooks::worker_startup()?;
    let settings =
        WorkerSettings { retention: config.retention, drift: config.drift, ..config.worker.settings.clone() };
    Ok(Worker::new(parts.deployer.clone(), parts.bell.clone(), settings, Supervisor::this_program()).await?)
}

async fn serve_health(
    worker: Worker,
    deployer: deployer::Deployer,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let mut registry = Registry::default();
    let metrics = api::HttpMetrics::register(&mut registry);
    worker.metrics().register(&mut registry);
    let numbers = fleet::numbers(deployer.db.clone(), registry);
    let ready = Arc::new(move || {
        let (deployer, worker) = (deployer.clone(), worker.clone());
        let readiness: std::pin::Pin<Box<dyn Future<Output = Checked> + Send>> = Box::pin(async move {
            let mut readiness = house::readiness(&deployer).await;
            // Without a lease nothing runs here, whatever the database says.
            readiness.database &= worker.state().worker.is_some();
            readiness.into()
        });
        readiness
    });
    let app = api::worker_app(ready, metrics, numbers);
    Ok(api::serve(listener, app, CONNECTIONS, shutdown, Duration::from_secs(5)).await?)
}
