//! `slipway event-server`.

use std::{sync::Arc, time::Duration};

use events::{EventServer, Keys};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::{listen, say, signals::Signals};
use crate::{
    args::{EventServerArgs, EventServerCommand},
    config::Config,
    failure::Failure,
};

pub(crate) async fn run(args: EventServerArgs, config: &Config) -> Result<(), Failure> {
    if let Some(EventServerCommand::Key { label, topics, routing_keys }) = args.command {
        return key(&label, &topics, &routing_keys);
    }
    let mut settings = config.events.clone();
    settings.location = args.location.unwrap_or(settings.location);
    settings.state = args.state.unwrap_or(settings.state);
    settings.listen = args.listen.unwrap_or(settings.listen);
    settings.check().map_err(|problem| Failure::new("CONFIG_INVALID", format!("events.{problem}.")))?;
    let (connections, drain) = (settings.connections, Duration::from_secs(settings.drain_s));
    let listener = listen(settings.listen, "--listen or events.listen").await?;
    let address = listener.local_addr()?;
    let server = Arc::new(EventServer::open(settings).await?);
    let mut registry = Registry::default();
    let metrics = api::HttpMetrics::register(&mut registry);
    server.metrics().register(&mut registry);
    let app = api::event_app(Arc::clone(&server), metrics, Arc::new(registry));
    let shutdown = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let (stop, hurried) = (shutdown.clone(), Arc::clone(&server));
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("draining: batches under way are filed and answered");
        hurried.hurry();
        stop.cancel();
    });
    tracing::info!(listen = %address, location = server.settings().location, "taking events at /events");
    let served = api::serve(listener, app, connections, shutdown, drain).await;
    if tokio::time::timeout(drain, server.close()).await.is_err() {
        tracing::warn!(
            "what was under way is not filed: the store did not answer in time. Nobody was told that it is; the next start settles it"
        );
    }
    Ok(served?)
}

/// Prints a key, and the line by which the server knows it.
fn key(label: &str, topics: &[String], routing_keys: &[String]) -> Result<(), Failure> {
    let (key, hash) = Keys::generate();
    let bound = topics.iter().map(|topic| format!(" topic={topic}"));
    let bound: String = bound.chain(routing_keys.iter().map(|key| format!(" routing-key={key}"))).collect();
    say(key.expose())?;
    say(format!("{hash} {label}{bound}"))
}

impl From<events::EventError> for Failure {
    fn from(error: events::EventError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})")).unwrap_or_default();
        Self::new(error.code().as_str(), format!("{error}{cause}"))
    }
}
