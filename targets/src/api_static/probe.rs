//! Calls of the query API: a probe that shows whether a generation answers, and to whom.
//!
//! A probe asks for a prediction without features, which no model answers: nothing is predicted, and nothing is logged as a query. Functions and SQL queries are not
//! probed, for they would run.

use engine::secrets::Secret;
use serde_json::json;

use super::session::Place;
use crate::{
    caller,
    http::{Auth, Body, CallError, Method, NodeUrl, Request},
    service::{Authorization, EndpointSpec, ServiceVersionSpec},
    service_package,
};

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The service looked at the query, or answered it.
    Answers,
    /// Credentials are wanted, or others.
    Refuses,
    /// There is no such service, generation or endpoint, or it is out of order.
    Silent(u16),
}

/// Who must be let in, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    Locked,
    Unknown,
}

/// An endpoint that can be probed without anything happening.
pub(super) fn harmless(version: &ServiceVersionSpec) -> Option<&EndpointSpec> {
    let is_harmless = |one: &&EndpointSpec| {
        one.kind
            .as_deref()
            .is_some_and(|kind| kind.ends_with("_PREDICTION") || matches!(kind, "STD_CLUSTERING" | "STD_FORECAST"))
    };
    version.endpoints.iter().find(is_harmless)
}

/// Who is let in.
pub(super) fn door(place: &Place<'_>, version: &ServiceVersionSpec) -> Door {
    match (&place.service.authorization, version.auth_method.as_deref()) {
        (Some(Authorization::Public), _) | (None, Some("PUBLIC")) => Door::Open,
        (Some(_), _) | (None, Some("API_KEYS" | "OAUTH2")) => Door::Locked,
        (None, _) => Door::Unknown,
    }
}

/// Asks this generation.
pub(super) async fn probe(
    place: &Place<'_>,
    version: &ServiceVersionSpec,
    endpoint: &EndpointSpec,
    key: Option<&Secret>,
) -> Result<Shown, CallError> {
    let url = NodeUrl::parse(&place.spec.infrastructure.node.url, &place.tools.http.settings().blocked);
    let url = url.map_err(|error| CallError::reported(error.into()))?;
    let auth = key.map_or(Auth::None, |key| Auth::Basic(key.clone()));
    let node = place.tools.http.caller(url, auth, place.node.trust_all_certificates);
    let generation = service_package::generation(place.service, version);
    let path = ["public", "api", "v1", place.id(), &endpoint.id, caller::verb(endpoint.kind.as_deref())];
    let body = Body::Json(json!({"dispatch": {"forcedGeneration": generation}}));
    let request = Request { body, ..Request::new(Method::POST, &path, "asking the service for an answer") };
    let exchange = node.exchange(request).await?;
    Ok(match exchange.status {
        200..300 | 400 | 422 => Shown::Answers,
        401 | 403 => Shown::Refuses,
        // Its code can't do without features: it was asked.
        500 if exchange.value().is_some() => Shown::Answers,
        status => Shown::Silent(status),
    })
}
