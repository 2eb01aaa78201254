//! A client of Slipway's own API: GraphQL over HTTP, uploads, subscriptions as server-sent events.
//!
//! It follows no redirects: the key goes to the address that it was given for, and nowhere else. Proxies come from the environment
//! (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).

mod answer;
mod events;
mod fleet;
mod follow;
mod upload;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Client as Http, RequestBuilder, Response, header::ACCEPT};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::{events::Events, follow::Following};
use crate::{failure::Failure, login::Login};

/// The longest file of certificates, in bytes.
const CA_FILE: u64 = 16 << 20;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(15);
/// The longest silence of an answer. A stream of events says something every few seconds.
const SILENCE: Duration = Duration::from_secs(75);
/// The longest silence of a network that does not even confirm what was sent.
const UNCONFIRMED: Duration = Duration::from_secs(60);
/// For how long a request is made again that got no answer, of an API that has answered before.
const PATIENCE: Duration = Duration::from_secs(120);

/// Talks to one installation with one key.
#[derive(Clone)]
pub(crate) struct Client {
    http: Http,
    base: String,
    key: String,
    /// The API has answered: what goes wrong from now on may pass.
    heard: Arc<AtomicBool>,
}

impl Client {
    pub(crate) fn new(base: &str, key: &str) -> Result<Self, Failure> {
        Self::with(base, key, None)
    }

    /// As whom, where to, and whose certificates are trusted besides those that the system trusts.
    pub(crate) fn of(login: &Login) -> Result<Self, Failure> {
        Self::with(&login.url, &login.key, login.ca_file.as_deref())
    }

    fn with(base: &str, key: &str, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let mut builder = Http::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_user_timeout(UNCONFIRMED);
        if let Some(file) = ca_file {
            let unreadable = |problem: &str| {
                Failure::refused("CONFIG_UNREADABLE", format!("the CA file {}: {problem}", file.display()))
            };
            let pem = crate::login::read(file, CA_FILE).map_err(|problem| unreadable(&problem))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(unreadable("it holds no certificate in PEM format."));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| answer::unreachable(&error))?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { http, base, key: key.to_owned(), heard: Arc::default() })
    }

    /// Runs a query or a mutation once, and answers the first field of its data. A mutation's refusals are a failure.
    pub(crate) async fn run(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let response = self.send(self.post(document, &variables)).await?;
        let answer = answer::json(response).await?;
        self.heard.store(true, Ordering::Relaxed);
        answer::field(&answer)
    }

    /// The same, for what may be asked twice: it is asked again while there is no answer, if there ever was one.
    pub(crate) async fn ask(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let until = Instant::now() + PATIENCE;
        let mut pauses = Pauses::default();
        loop {
            match self.run(document, variables.clone()).await {
                Err(lost) if lost.is_lost() && self.heard.load(Ordering::Relaxed) && Instant::now() < until => {
                    pauses.rest().await;
                }
                answer => return answer,
            }
        }
    }

    /// Subscribes; each event is the first field of its data.
    pub(crate) async fn subscribe(&self, document: &str, variables: Value) -> Result<Events, Failure> {
        let response = self.send(self.post(document, &variables).header(ACCEPT, "text/event-stream")).await?;
        Events::of(response).await
    }

    fn post(&self, document: &str, variables: &Value) -> RequestBuilder {
        let body = json!({ "query": document, "variables": variables });
        self.http.post(self.url("/graphql")).json(&body)
    }

    /// The beginning of an answer, whatever it says.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let sent = timeout(SILENCE, request.bearer_auth(&self.key).send()).await;
        sent.map_err(|_| answer::silent())?.map_err(|error| answer::unreachable(&error))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// Pauses between attempts: longer and longer, up to a bound.
#[derive(Default)]
pub(crate) struct Pauses(u32);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(8);

    /// What was lost is back.
    pub(crate) fn over(&mut self) {
        self.0 = 0;
    }

    pub(crate) async fn rest(&mut self) {
        let pause = Self::FIRST.saturating_mul(1 << self.0.min(5)).min(Self::LONGEST);
        self.0 = self.0.saturating_add(1);
        // Many clients lose one API at the same moment: they should not all come back at the same moment.
        sleep(pause.mul_f64(0.75 + engine::clock::chance() / 2.0)).await;
    }
}
