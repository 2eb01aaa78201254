//! Everybody but the node: a proxy that lets nothing out. A plain call is noted and answered with an empty object; a tunnel (https) is noted and
//! refused.

use crate::clock::now_us;
use poem::http::{Method, StatusCode};
use poem::listener::TcpAcceptor;
use poem::{Body, Endpoint, Request, Response, Server};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The largest body that is read, in bytes.
const BODY: usize = 4 << 20;

/// A proxy to be named in `http_proxy` and `https_proxy`, until it is dropped. It listens on the loopback address alone.
pub struct Outside {
    address: SocketAddr,
    heard: Arc<Heard>,
    _stop: DropGuard,
}

/// One call to somebody.
#[derive(Debug, Clone)]
pub struct OutsideCall {
    /// When it arrived, in microseconds since the epoch.
    pub at: i64,
    /// The HTTP method; CONNECT for a tunnel.
    pub method: String,
    /// The whole URL; of a tunnel, host and port.
    pub url: String,
    /// The values of its headers.
    pub headers: Vec<Vec<u8>>,
    /// The body; at most 4 MiB, a longer one is refused.
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Heard {
    calls: Mutex<Vec<OutsideCall>>,
    count: watch::Sender<usize>,
    /// The call that is held for ever, counted from 1; 0 for none.
    hold: watch::Sender<usize>,
}

impl Outside {
    /// Opens one on a free port. Runs as a task of the current tokio runtime.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, heard) = (listener.local_addr()?, Arc::<Heard>::default());
        let stop = CancellationToken::new();
        let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
        let (door, signal) = (Door(Arc::clone(&heard)), stop.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = server.run_with_graceful_shutdown(door, signal, Some(Duration::ZERO)).await {
                tracing::error!(%error, "the proxy failed");
            }
        });
        Ok(Self { address, heard, _stop: stop.drop_guard() })
    }

    /// The address for `http_proxy`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Never answers the `nth` call from the last [`Outside::take`] on, counted from 1; 0 answers all.
    pub fn hold(&self, nth: usize) {
        self.heard.hold.send_replace(nth);
    }

    /// Waits until so many calls were made since the last [`Outside::take`].
    pub async fn reached(&self, count: usize) {
        let gone = self.heard.count.subscribe().wait_for(|made| *made >= count).await.is_err();
        debug_assert!(!gone, "the sender lives in self");
    }

    /// What was called since the last time, in order of arrival. From now on all are answered.
    pub fn take(&self) -> Vec<OutsideCall> {
        self.hold(0);
        let mut calls = self.heard.calls.lock().unwrap_or_else(PoisonError::into_inner);
        self.heard.count.send_replace(0);
        std::mem::take(&mut calls)
    }
}

impl Heard {
    /// Notes a call; says the how manyeth it is.
    fn note(&self, request: &Request, body: Vec<u8>) -> usize {
        let call = OutsideCall {
            at: now_us(),
            method: request.method().to_string(),
            url: request.uri().to_string(),
            headers: request.headers().values().map(|value| value.as_bytes().to_vec()).collect(),
            body,
        };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        self.count.send_replace(calls.len());
        calls.len()
    }
}

struct Door(Arc<Heard>);

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if request.method() == Method::CONNECT {
            self.0.note(&request, Vec::new());
            let text = "nothing is let out here, and https cannot be looked into";
            return Ok(Response::builder().status(StatusCode::BAD_GATEWAY).body(text));
        }
        let body = request.take_body().into_bytes_limit(BODY).await?;
        let nth = self.0.note(&request, body.to_vec());
        if *self.0.hold.borrow() == nth {
            // Its client is killed meanwhile, which ends this, too.
            std::future::pending::<()>().await;
        }
        Ok(Response::builder().content_type("application/json").body(Body::from_string("{}".to_owned())))
    }
}
