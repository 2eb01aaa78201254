//! The server.

use std::{io, sync::Arc, time::Duration};

use poem::{
    Endpoint, EndpointExt, Response, Server,
    http::{HeaderValue, header},
    listener::TcpAcceptor,
};
use tokio::{net::TcpListener, sync::Semaphore};
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
    let places = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
    let acceptor = Bounded::new(TcpAcceptor::from_tokio(listener)?, Arc::clone(&places));
    // With few places left nobody keeps one for later: those who wait in line get it.
    let few = connections.div_ceil(10);
    let app = app.map_to_response().after(move |answer: poem::Result<Response>| {
        let crowded = places.available_permits() < few;
        std::future::ready(answer.map(|mut answer| {
            // A refusal may come before the body was read, and a close then would swallow it.
            if crowded && answer.status().is_success() {
                answer.headers_mut().entry(header::CONNECTION).or_insert(HeaderValue::from_static("close"));
            }
            answer
        }))
    });
    Server::new_with_acceptor(acceptor)
        .idle_timeout(IDLE)
        .http2_max_concurrent_streams(200)
        .run_with_graceful_shutdown(app, shutdown.cancelled_owned(), Some(drain))
        .await
}
