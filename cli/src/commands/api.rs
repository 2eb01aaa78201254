//! `slipway api`.

use std::time::Duration;

use prometheus_client::{metrics::counter::Counter, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use worker::Worker;

use super::{listen, signals::Signals};
use crate::{args::Api, config::Config, failure::Failure, fleet, house::Deployment, parts::Parts, unseen};

pub(crate) async fn run(args: Api, config: &Config) -> Result<(), Failure> {
    let parts = Parts::open(config).await?;
    let listener = listen(args.listen.unwrap_or(config.api.listen), "--listen or api.listen").await?;
    let shutdown = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        signals.next().await;
        stop.cancel();
    });
    serve(&parts, config, listener, None, shutdown).await
}

/// Serves GraphQL until `shutdown`; `/metrics` tells of the worker in this process, too, if there is one.
pub(crate) async fn serve(
    parts: &Parts,
    config: &Config,
    listener: TcpListener,
    worker: Option<&Worker>,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let address = listener.local_addr()?;
    let mut registry = Registry::default();
    let metrics = api::HttpMetrics::register(&mut registry);
    // Of a worker in this process it is the same figure.
    let lapses = worker.map_or_else(Counter::default, |worker| worker.metrics().lapses_found.clone());
    match worker {
        Some(worker) => worker.metrics().register(&mut registry),
        None => registry.register("slipway_lapses_found", "Lapsed workers that this process ended", lapses.clone()),
    }
    parts.deployer.query_logs.metrics().register(&mut registry);
    let numbers = fleet::numbers(parts.deployer.db.clone(), registry);
    let house = Deployment::new(parts.deployer.clone(), &parts.bell, config.packages.largest, &config.http.node_id);
    let schema = api::limits::apply(graphql::builder(), &config.http.limits).finish();
    let app = api::app(schema, house, config.http.clone(), metrics, numbers, shutdown.clone());
    tokio::spawn(unseen::watch(parts.deployer.clone(), lapses, shutdown.clone()));
    tracing::info!(listen = %address, "serving GraphQL at /graphql, GraphiQL at /graphiql, REST at /dip/publicapi");
    let drain = Duration::from_secs(config.http.drain_s);
    let served = api::serve(listener, app, config.http.connections, shutdown, drain).await;
    parts.deployer.query_logs.close().await;
    Ok(served?)
}
