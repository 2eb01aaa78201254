//! All addresses, in one place.

use std::sync::Arc;

use async_graphql::Executor;
use poem::{Endpoint, EndpointExt, Response, Route, endpoint::BoxEndpoint};
use tokio_util::sync::CancellationToken;

use crate::{
    bundles::{Download, Upload},
    edge::Edge,
    graphiql::Graphiql,
    graphql::{GraphqlEndpoint, Shared},
    health::{self, Numbers, Ready},
    house::House,
    metrics::HttpMetrics,
    rate::Rates,
    settings::Settings,
};

/// The addresses of `slipway api`: GraphQL, GraphiQL, bundles, health.
///
/// `numbers` is what `/metrics` shows; `metrics` was registered there by the caller. Streams end when `shutdown` is cancelled.
pub fn app<E: Executor, H: House>(
    executor: E,
    house: H,
    settings: Settings,
    metrics: HttpMetrics,
    numbers: impl Into<Numbers>,
    shutdown: CancellationToken,
) -> BoxEndpoint<'static, Response> {
    let house = Arc::new(house);
    let settings = Arc::new(settings);
    let asked = house.clone();
    let ready: Ready = Arc::new(move || {
        let house = asked.clone();
        Box::pin(async move { house.readiness().await })
    });
    let shared = Shared {
        executor,
        house: house.clone(),
        rates: Rates::new(&settings),
        settings: settings.clone(),
        metrics: metrics.clone(),
        shutdown,
    };
    let route = Route::new()
        .at("/graphql", GraphqlEndpoint(Arc::new(shared)))
        .at("/graphiql", Graphiql)
        .at("/graphiql/*file", Graphiql)
        .at("/bundles", Upload::new(house.clone(), settings.clone()))
        .at("/projects/:key/bundles/:id", Download { house });
    edge(health::mount(route, ready, numbers.into()), settings.allowed_origins.clone(), metrics)
}

/// The addresses of a worker: health and metrics alone.
pub fn worker_app(ready: Ready, metrics: HttpMetrics, numbers: impl Into<Numbers>) -> BoxEndpoint<'static, Response> {
    edge(health::mount(Route::new(), ready, numbers.into()), Vec::new(), metrics)
}

fn edge(
    inner: impl Endpoint + 'static,
    allowed_origins: Vec<String>,
    metrics: HttpMetrics,
) -> BoxEndpoint<'static, Response> {
    Edge { inner, allowed_origins, metrics }.boxed()
}
