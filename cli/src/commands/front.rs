//! `slipway front`: the front in an image for a cloud, and the node that it starts.

mod node;
mod settings;
mod upstream;

use std::{process::ExitCode, time::Duration};

use api::front::UnderWay;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{node::Node, settings::Plan, upstream::Beside};
use super::{listen, signals::Signals};
use crate::{args::FrontArgs, config::Config, failure::Failure, telemetry};

/// Between two looks at a node that starts.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks at the queries that are under way.
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// Connections at once, for each request at once: platforms keep some open.
const CONNECTIONS: usize = 4;

pub(crate) async fn run(args: FrontArgs) -> Result<ExitCode, Failure> {
    // The container's variables are the node's, not our settings.
    telemetry::start(&Config::load(None, [])?.log)?;
    let plan = Plan::of(&args, |name| std::env::var(name).ok())?;
    let upstream = Beside::new(&plan)?;
    let listener = listen(plan.listen, "--listen").await?;
    let mut signals = Signals::listen()?;
    let mut node = Node::start(&args.run)?;
    let (door, open) = watch::channel(true);
    let shutdown = CancellationToken::new();
    let connections = plan.front.at_once.saturating_mul(CONNECTIONS);
    let (app, under_way) = api::front::front(plan.front.clone(), upstream.clone(), open);
    let serving = api::serve(listener, app, connections, shutdown.clone(), plan.drain);
    let mut server = tokio::spawn(serving);
    let (service, endpoint) = (plan.service.as_str(), plan.endpoint.as_str());
    tracing::info!(listen = %plan.listen, service, endpoint, "the front listens");

    let started = async {
        let until = Instant::now() + plan.start;
        while !api::front::Upstream::alive(&upstream).await {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        tracing::info!("the API node can be queried");
        // From here only a signal or the node's end ends the front.
        std::future::pending().await
    };
    let end = tokio::select! {
        _ = signals.next() => Ok(None),
        code = node.ended() => {
            tracing::error!(code, "the API node ended, and the front with it");
            Ok(Some(code))
        }
        _ = started => Err(Failure::new(
            "FRONT_NODE_NOT_ALIVE",
            format!("The API node could not be queried within {} seconds. Its own log says why.", plan.start.as_secs()),
        )),
        served = &mut server => match served {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(Failure::io("the front's server ended")),
        },
    };
    // Nobody sends new queries to who is not ready; those under way are answered while the node still runs.
    door.send_replace(false);
    let mut until = Instant::now() + plan.drain;
    if matches!(end, Ok(None)) {
        // Whoever asks must find somebody who says so: the listener stays until then. A second signal is for at once.
        tokio::select! {
            () = noticed(&under_way, Instant::now() + plan.notice, until) => {}
            _ = signals.next() => until = Instant::now(),
            _ = node.ended() => {}
            _ = &mut server => {}
        }
    }
    shutdown.cancel();
    if !server.is_finished() && tokio::time::timeout_at(until + LOOK, &mut server).await.is_err() {
        server.abort();
    }
    node.end(plan.drain, &mut signals).await;
    end.map(|code| code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Until the platform has had its moment and no query is under way, but no longer than `until`.
async fn noticed(under_way: &UnderWay, notice: Instant, until: Instant) {
    while Instant::now() < until && (Instant::now() < notice || under_way.count() > 0) {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}
