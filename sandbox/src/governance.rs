//! A practice governance source: somebody who answers for bundles, over real HTTP, as a test tells it to.

use poem::http::{StatusCode, header::AUTHORIZATION};
use poem::listener::TcpAcceptor;
use poem::{Body, Endpoint, Request, Response, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The largest question that is read, in bytes.
const BODY: usize = 1 << 20;

/// A governance source, until it is dropped. It listens on the loopback address alone, and says OK to every bundle that it was told nothing of.
pub struct Governance {
    address: SocketAddr,
    known: Arc<Mutex<Known>>,
    _stop: DropGuard,
}

/// One question that was asked.
#[derive(Debug, Clone)]
pub struct GovernanceQuestion {
    /// The header `Authorization`, if there was one.
    pub authorization: Option<String>,
    /// Method and path, such as `POST /check`.
    pub call: String,
    /// The body.
    pub body: Value,
}

#[derive(Default)]
struct Known {
    answers: BTreeMap<String, (u16, String)>,
    questions: Vec<GovernanceQuestion>,
}

impl Governance {
    /// Opens one on a free port. Runs as a task of the current tokio runtime.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let known: Arc<Mutex<Known>> = Arc::default();
        let stop = CancellationToken::new();
        let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?);
        let (door, signal) = (Door(Arc::clone(&known)), stop.clone().cancelled_owned());
        tokio::spawn(async move {
            if let Err(error) = server.run_with_graceful_shutdown(door, signal, Some(Duration::ZERO)).await {
                tracing::error!(%error, "the governance source failed");
            }
        });
        Ok(Self { address, known, _stop: stop.drop_guard() })
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/check", self.address)
    }

    /// What it says of a bundle from now on: a status such as `ERROR`, and why.
    pub fn say(&self, bundle: &str, status: &str, why: &str) {
        let answer =
            json!({"status": status, "messages": [{"severity": status, "code": "ERR_SIGN_OFF", "message": why}]});
        self.answer(bundle, 200, &answer.to_string());
    }

    /// What it answers for a bundle from now on, whatever that is. A status from 300 to 399 leads back to itself.
    pub fn answer(&self, bundle: &str, status: u16, body: &str) {
        self.known().answers.insert(bundle.to_owned(), (status, body.to_owned()));
    }

    /// What was asked since the last time, in order.
    pub fn take(&self) -> Vec<GovernanceQuestion> {
        std::mem::take(&mut self.known().questions)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Door(Arc<Mutex<Known>>);

impl Endpoint for Door {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let body = request.take_body().into_bytes_limit(BODY).await?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let authorization =
            request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let call = format!("{} {}", request.method(), request.uri().path());
        let bundle = body["bundleId"].as_str().unwrap_or_default().to_owned();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.questions.push(GovernanceQuestion { authorization, call, body });
        let fine = || (200, json!({"status": "OK", "messages": []}).to_string());
        let (status, answer) = known.answers.get(&bundle).cloned().unwrap_or_else(fine);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::builder().status(status).content_type("application/json");
        if status.is_redirection() {
            response = response.header("Location", "/check");
        }
        Ok(response.body(Body::from_string(answer)))
    }
}
