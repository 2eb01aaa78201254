//! Everybody whom a hook calls but the node: a proxy that lets nothing out. A plain call is noted and answered with an empty object; a tunnel
//! (https) is noted and refused.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use engine::clock::now_micros;
use poem::{
    Body, Endpoint, Request, Response, Server,
    http::{Method, StatusCode},
    listener::TcpAcceptor,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::calls::{Made, Whom};
use crate::failure::LabError;

/// The largest body that is read, in bytes.
const BODY: usize = 4 << 20;

/// The proxy, until it is dropped.
pub(super) struct Outside {
    address: SocketAddr,
    heard: Arc<Heard>,
    _stop: DropGuard,
}

/// What it heard in the run under way.
struct Heard {
    /// The hook's idempotency key, to be looked for.
    key: String,
    calls: Mutex<Vec<Made>>,
    count: watch::Sender<u32>,
    /// The call that is held for ever, counted from 1; 0 for none.
    hold: watch::Sender<u32>,
}

impl Outside {
    pub(super) async fn open(key: &str) -> Result<Self, LabError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let heard = Arc::new(Heard {
            key: key.to_owned(),
            calls: Mutex::default(),
            count: watch::Sender::new(0),
            hold: watch::Sender::new(0),
        });
        let stop = CancellationToken::new();
        let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
        let (door, signal) = (Door(Arc::clone(&heard)), stop.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = server.run_with_graceful_shutdown(door, signal, Some(Duration::ZERO)).await {
                tracing::error!(%error, "the proxy of a hook test failed");
            }
        });
        Ok(Self { address, heard, _stop: stop.drop_guard() })
    }

    /// The address for `http_proxy`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Holds the `nth` call of the next run.
    pub(super) fn hold(&self, nth: u32) {
        self.heard.hold.send_replace(nth);
    }

    /// Waits until the `nth` call was made.
    pub(super) async fn reached(&self, nth: u32) {
        let gone = self.heard.count.subscribe().wait_for(|count| *count >= nth).await.is_err();
        debug_assert!(!gone, "the sender lives in self");
    }

    /// What was called since the last time.
    pub(super) fn take(&self) -> Vec<Made> {
        self.heard.hold.send_replace(0);
        self.heard.count.send_replace(0);
        std::mem::take(&mut *self.heard.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Heard {
    fn note(&self, request: &Request, body: Vec<u8>) -> u32 {
        let key = self.key.as_bytes();
        let has = |text: &[u8]| text.windows(key.len()).any(|part| part == key);
        let in_head = request.headers().values().any(|value| has(value.as_bytes()));
        let target = request.uri().to_string();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = u32::try_from(calls.len() + 1).unwrap_or(u32::MAX);
        calls.push(Made {
            at: now_micros(),
            whom: Whom::Outside,
            nth,
            method: request.method().to_string(),
            keyed: in_head || has(target.as_bytes()) || has(&body),
            target,
            body,
        });
        drop(calls);
        self.count.send_replace(nth);
        nth
    }
}

struct Door(Arc<Heard>);

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if request.method() == Method::CONNECT {
            self.0.note(&request, Vec::new());
            let text = "slipway hook test lets nothing out, and cannot look into https";
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
