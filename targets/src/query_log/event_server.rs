//! To an Event Server: batches under an id of their own, so that one that is sent again is filed once.

use std::time::Duration;

use async_trait::async_trait;
use engine::{failure::Failure, secrets::Secret};
use serde::Deserialize;

use super::{Batch, Outlet, Undelivered};
use crate::http::{Auth, Body, Http, Method, Node, NodeUrl, Request, Said, Tls};

/// One batch takes this long at most: the server answers when its disk has confirmed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it says of a batch that it does not take.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    errors: Vec<Refusal>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    message: String,
}

/// An Event Server.
pub(super) struct EventServer(Node);

impl EventServer {
    pub(super) fn new(http: &Http, url: &str, key: Option<Secret>, trust_all: bool) -> Result<Self, Failure> {
        let url = NodeUrl::parse(url, &http.settings().blocked)?;
        let http = if trust_all { http.with_tls(&Tls { trust_all, ..Tls::default() })? } else { http.clone() };
        Ok(Self(http.platform("The Event Server", url, key.map_or(Auth::None, Auth::Bearer))))
    }
}

#[async_trait]
impl Outlet for EventServer {
    async fn send(&mut self, batch: &Batch) -> Result<(), Undelivered> {
        let events: Vec<String> = batch.told().collect();
        let body = format!(r#"{{"batchId":"{}","events":[{}]}}"#, batch.id, events.join(","));
        let doing = "sending query events";
        let request = Request {
            body: Body::Bytes("application/json", body.into()),
            timeout: Some(PATIENCE),
            ..Request::new(Method::POST, &["events"], doing)
        };
        let exchange = self.0.exchange(request).await?;
        if exchange.succeeded() {
            return Ok(());
        }
        let said: Refused = exchange.json(doing).unwrap_or_default();
        let said = said.errors.into_iter().next().map(|one| Said { code: one.code, message: one.message });
        Err(exchange.refused(doing, &said.unwrap_or_default()).into())
    }
}
