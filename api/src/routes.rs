//! All addresses, in one place.

use std::sync::Arc;

use async_graphql::Executor;
use poem::{Endpoint, EndpointExt, Response, Route, endpoint::BoxEndpoint};
use tokio_util::sync::CancellationToken;

use crate::{
    bundles::{Download, Intake, Kind, Upload},
    edge::Edge,
    fleet::{self, Fleet},
    graphiql::Graphiql,
    graphql::{GraphqlEndpoint, Shared},
    health::{self, Numbers, Ready},
    house::House,
    metrics::HttpMetrics,
    rate::Rates,
    rest::{Fork, Rest},
    settings::Settings,
};

/// The addresses of `slipway api`: GraphQL, GraphiQL, the REST API of Dataiku's client, nodes that register themselves,
/// bundles, health.
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
    let rates = Arc::new(Rates::new(&settings));
    let intake = Arc::new(Intake::new(settings.clone()));
    let rest = Rest { house: house.clone(), rates: rates.clone(), settings: settings.clone(), intake: intake.clone() };
    let fleet = Fleet { house: house.clone(), rates: rates.clone(), settings: settings.clone() };
    let shared = Shared {
        executor,
        house: house.clone(),
        rates,
        settings: settings.clone(),
        metrics: metrics.clone(),
        shutdown,
    };
    let route = Route::new()
        .at("/graphql", GraphqlEndpoint(Arc::new(shared)))
        .at("/graphiql", Graphiql)
        .at("/graphiql/*file", Graphiql)
        .at(fleet::PATH, fleet)
        .at("/bundles", Upload { house: house.clone(), intake: intake.clone(), kind: Kind::Bundles })
        .at("/service-versions", Upload { house: house.clone(), intake, kind: Kind::Versions })
        .at("/projects/:key/bundles/:id", Download { house: house.clone(), kind: Kind::Bundles })
        .at("/services/:id/versions/:version", Download { house, kind: Kind::Versions });
    let inner = Fork { rest, others: health::mount(route, ready, numbers.into()) };
    edge(inner, settings.allowed_origins.clone(), metrics)
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
