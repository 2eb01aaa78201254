//! Everybody but the node: a proxy that lets nothing out. A plain call is noted and answered with an empty object; a tunnel (https) is noted and
//! refused.

use crate::clock::now_us;
use crate::upload::hex;
use poem::http::{Method, StatusCode};
use poem::listener::TcpAcceptor;
use poem::{Body, Endpoint, Request, Response, Server};
use sha2::{Digest, Sha256};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The largest body that is read, in bytes.
const BODY: usize = 4 << 20;
/// The most calls that are kept.
const KEPT: usize = 100_000;

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
    /// SHA-256 of the body in hexadecimal digits; of one that is too long, nothing.
    pub sha256: String,
    /// Whether the word that is looked for stands in URL, headers or body.
    pub mentions: bool,
}

struct Heard {
    word: Vec<u8>,
    calls: Mutex<Vec<OutsideCall>>,
    hold: watch::Sender<Option<Hold>>,
}

/// The call that is never answered.
#[derive(Clone)]
struct Hold {
    method: String,
    url: String,
    /// How many more like it pass before.
    pass: usize,
    reached: bool,
}

impl Outside {
    /// Opens one on a free port; `word` is looked for in all calls. Runs as a task of the current tokio runtime.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn open(word: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let heard = Arc::new(Heard { word: word.into(), calls: Mutex::default(), hold: watch::Sender::new(None) });
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

    /// Never answers the `nth` call of this method and URL from now on, counted from 1.
    pub fn hold(&self, method: &str, url: &str, nth: usize) {
        let hold = Hold { method: method.to_owned(), url: url.to_owned(), pass: nth.saturating_sub(1), reached: false };
        self.heard.hold.send_replace(Some(hold));
    }

    /// Waits until the call that is held was made.
    pub async fn reached(&self) {
        let is_there = |hold: &Option<Hold>| hold.as_ref().is_some_and(|hold| hold.reached);
        let gone = self.heard.hold.subscribe().wait_for(is_there).await.is_err();
        debug_assert!(!gone, "the sender lives in self");
    }

    /// What was called since the last time, in order of arrival, a hundred thousand at most. From now on all are answered.
    pub fn take(&self) -> Vec<OutsideCall> {
        self.heard.hold.send_replace(None);
        std::mem::take(&mut self.heard.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Heard {
    /// Notes a call; `body` is None when it was too long.
    fn note(&self, request: &Request, body: Option<&[u8]>) {
        let has = |text: &[u8]| text.windows(self.word.len()).any(|part| part == self.word);
        let url = request.uri().to_string();
        let in_head = request.headers().values().any(|value| has(value.as_bytes()));
        let call = OutsideCall {
            at: now_us(),
            method: request.method().to_string(),
            mentions: in_head || has(url.as_bytes()) || body.is_some_and(has),
            sha256: body.map(|body| hex(Sha256::new_with_prefix(body))).unwrap_or_default(),
            url,
        };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < KEPT {
            calls.push(call);
        }
    }

    /// Whether this call is the one to be held.
    fn is_held(&self, request: &Request) -> bool {
        self.hold.send_if_modified(|hold| {
            let (method, url) = (request.method().as_str(), request.uri().to_string());
            let Some(hold) = hold.as_mut().filter(|hold| hold.method == method && hold.url == url && !hold.reached)
            else {
                return false;
            };
            hold.reached = hold.pass == 0;
            hold.pass = hold.pass.saturating_sub(1);
            hold.reached
        })
    }
}

struct Door(Arc<Heard>);

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        if request.method() == Method::CONNECT {
            self.0.note(&request, Some(&[]));
            let text = "nothing is let out here, and https cannot be looked into";
            return Ok(Response::builder().status(StatusCode::BAD_GATEWAY).body(text));
        }
        let Ok(body) = request.take_body().into_bytes_limit(BODY).await else {
            self.0.note(&request, None);
            return Ok(Response::builder().status(StatusCode::PAYLOAD_TOO_LARGE).finish());
        };
        self.0.note(&request, Some(&body));
        if self.0.is_held(&request) {
            // Its client is killed meanwhile, which ends this, too.
            std::future::pending::<()>().await;
        }
        Ok(Response::builder().content_type("application/json").body(Body::from_string("{}".to_owned())))
    }
}
