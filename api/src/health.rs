//! `/healthz`: the process runs. `/readyz`: it can serve. `/metrics`: numbers for Prometheus. None of them says anything about a viewer's things,
//! and none asks for a key.

use std::{future::Future, pin::Pin, sync::Arc};

use poem::{EndpointExt, IntoResponse, Response, Route, endpoint::make, get, http::StatusCode};
use prometheus_client::registry::Registry;
use serde_json::json;

use crate::{failure::Failure, house::Readiness};

/// Whether a process can do its work, and what its parts say.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// It can.
    pub ready: bool,
    /// What is shown of the parts.
    pub checks: serde_json::Value,
}

impl From<Readiness> for Checked {
    fn from(found: Readiness) -> Self {
        Self { ready: found.is_ready(), checks: json!(found) }
    }
}

/// Asks whether the process can do its work.
pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Checked> + Send>> + Send + Sync>;

/// What is done before numbers are shown.
pub type Refresh = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The numbers of a process.
#[derive(Clone)]
pub struct Numbers {
    /// All of them.
    pub registry: Arc<Registry>,
    /// Brings those up to date that are read from elsewhere.
    pub refresh: Option<Refresh>,
}

impl From<Arc<Registry>> for Numbers {
    fn from(registry: Arc<Registry>) -> Self {
        Self { registry, refresh: None }
    }
}

/// Adds the three addresses.
pub(crate) fn mount(route: Route, ready: Ready, numbers: Numbers) -> Route {
    route
        .at("/healthz", get(make(|_| async { json_response(StatusCode::OK, &json!({"status": "alive"})) })))
        .at("/readyz", get(make(move |_| readiness(ready())).boxed()))
        .at("/metrics", get(make(move |_| metrics(numbers.clone())).boxed()))
}

async fn readiness(asked: Pin<Box<dyn Future<Output = Checked> + Send>>) -> Response {
    let found = asked.await;
    let (status, word) =
        if found.ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    json_response(status, &json!({"status": word, "checks": found.checks}))
}

async fn metrics(numbers: Numbers) -> Response {
    if let Some(refresh) = &numbers.refresh {
        refresh().await;
    }
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &numbers.registry).is_err() {
        return Failure::internal().into_response();
    }
    Response::builder().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text)
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    Response::builder().status(status).content_type("application/json; charset=utf-8").body(body.to_string())
}
