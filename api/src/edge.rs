//! What holds for every request, around all routes: a number for the log, the origin check, a net for panics, headers for browsers, one line
//! in the log, one count in the metrics.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use engine::clock;
use futures_util::FutureExt;
use poem::{
    Endpoint, IntoResponse, Request, Response, Result,
    http::{HeaderName, HeaderValue, header},
};
use tracing::Instrument;

use crate::{failure::Failure, fleet, metrics::HttpMetrics, origin, rest};

/// The number of a request, in the header `x-request-id` of question and answer, and in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

/// Who sent the request, noted on the answer for the log.
#[derive(Clone, Debug)]
pub(crate) struct Login(pub(crate) Arc<str>);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::CACHE_CONTROL, "no-store"),
];

/// The layer around all routes.
pub(crate) struct Edge<I> {
    pub(crate) inner: I,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) metrics: HttpMetrics,
}

impl<I: Endpoint> Endpoint for Edge<I> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let started = Instant::now();
        let id = request_id(&request);
        request.set_data(id.clone());
        let method = request.method().clone();
        let route = route(request.uri().path());
        let span = tracing::info_span!("request", http.request.id = %id.0);
        let mut response = self.answer(request).instrument(span.clone()).await;
        for (name, value) in HEADERS {
            response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        if let Ok(value) = HeaderValue::from_str(&id.0) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let status = response.status().as_u16();
        let took = started.elapsed();
        self.metrics.observe(method.as_str(), route, status, took);
        let login = response.data::<Login>().map(|login| login.0.clone());
        let login = login.as_deref().unwrap_or("-");
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        span.in_scope(|| match route {
            "/healthz" | "/readyz" | "/metrics" => {
                tracing::debug!(http.request.method = %method, http.route = route, http.response.status_code = status, duration_ms, "answered");
            }
            _ => tracing::info!(
                http.request.method = %method,
                http.route = route,
                http.response.status_code = status,
                user.login = login,
                duration_ms,
                "answered {method} {route} with {status}"
            ),
        });
        Ok(response)
    }
}

impl<I: Endpoint> Edge<I> {
    async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path();
        let shape =
            if rest::is_below(path) || path == fleet::PATH { Failure::into_rest } else { Failure::into_response };
        let page = match origin::check(&request, &self.allowed_origins) {
            Ok(()) => request.headers().get(header::ORIGIN).cloned(),
            Err(failure) => return shape(failure),
        };
        let mut response = match origin::preflight(&request) {
            Some(response) => response,
            None => match AssertUnwindSafe(self.inner.call(request)).catch_unwind().await {
                Ok(Ok(response)) => response.into_response(),
                Ok(Err(error)) => refused(error, shape),
                Err(_) => {
                    // The panic hook has logged where.
                    tracing::error!("a request's handler panicked");
                    shape(Failure::internal())
                }
            },
        };
        origin::expose(page.as_ref(), &mut response);
        response
    }
}

/// A library's error: its status is right, its words are not for clients.
fn refused(error: poem::Error, shape: impl FnOnce(Failure) -> Response) -> Response {
    if error.is_from_response() {
        return error.into_response();
    }
    let failure = Failure::of_status(error.status());
    if error.status().is_server_error() {
        tracing::error!(error = %error, "a request failed");
    }
    shape(failure)
}

/// The client's number, if it is one that can be logged; else a fresh one.
fn request_id(request: &Request) -> RequestId {
    let fits = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    match request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(fits) {
        Some(id) => RequestId(id.into()),
        None => RequestId(format!("{:016x}", clock::random_u64()).into()),
    }
}

/// A name for log and metrics; few of them, whatever people ask for.
fn route(path: &str) -> &'static str {
    match path {
        "/graphql" => "/graphql",
        "/bundles" => "/bundles",
        "/service-versions" => "/service-versions",
        fleet::PATH => fleet::PATH,
        "/healthz" => "/healthz",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        _ if path == "/graphiql" || path.starts_with("/graphiql/") => "/graphiql",
        _ if path.starts_with("/projects/") => "/projects/{key}/bundles/{id}",
        _ => rest::name(path).unwrap_or("other"),
    }
}
