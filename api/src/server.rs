//! The server.

use std::{io, time::Duration};

use poem::{Endpoint, Server, listener::TcpAcceptor};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::Bounded;

/// A connection on which nothing moves for so long is closed. Streams are pinged far more often.
const IDLE: Duration = Duration::from_secs(180);

/// Serves at most so many connections at once, until `shutdown` is cancelled; then takes no new connections and gives running requests the time `drain`.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    app: impl Endpoint + 'static,
    connections: usize,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let acceptor = Bounded::new(TcpAcceptor::from_tokio(listener)?, connections);
    Server::new_with_acceptor(acceptor)
        .idle_timeout(IDLE)
        .http2_max_concurrent_streams(200)
        .run_with_graceful_shutdown(app, shutdown.cancelled_owned(), Some(drain))
        .await
}
