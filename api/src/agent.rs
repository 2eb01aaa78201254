//! `slipway agent`: takes packages beside an API node, whose own API takes no upload. It knows files, and nothing of services, databases or the house.
//!
//! | call | does |
//! |---|---|
//! | `GET /healthz` | says that it runs; needs no key |
//! | `GET /agent/v1` | says what it is, where its folder is, and how much it takes |
//! | `GET /agent/v1/files` | lists what it holds |
//! | `GET /agent/v1/files/NAME` | says how much of one it holds, and whether it is complete |
//! | `PUT /agent/v1/files/NAME` | takes a part of one, from where it stands; the last part is checked and put in place |
//! | `DELETE /agent/v1/files/NAME` | removes one |
//!
//! * `name`: what a file may be called; `store`: the files; `routes`: the calls.

mod name;
mod routes;
mod store;

use std::{io, sync::Arc, time::Duration};

use poem::{Server, listener::TcpAcceptor};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::store::{Agent, AgentSettings};

/// A connection on which nothing moves for so long is closed.
const IDLE: Duration = Duration::from_secs(120);

/// Serves the agent until `shutdown` is cancelled; then gives running calls the time `drain`. What is cut is resumed.
///
/// # Errors
/// When the listener can't be used.
pub async fn serve_agent(
    listener: TcpListener,
    agent: Arc<Agent>,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?)
        .idle_timeout(IDLE)
        .http2_max_concurrent_streams(16)
        .run_with_graceful_shutdown(routes::app(agent), shutdown.cancelled_owned(), Some(drain))
        .await
}
