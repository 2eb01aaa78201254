//! Calls of the query API: a probe that shows whether a generation answers, and to whom.
//!
//! A probe asks for a prediction without features, which no model answers: nothing is predicted, and nothing is logged as a query. Functions and SQL queries are not
//! probed, for they would run. Where the endpoint fails at that, one of the test queries that the version brings along is put to it.

use engine::{failure::StepError, secrets::Secret};
use serde_json::{Map, Value, json};

use super::session::Place;
use crate::{
    caller,
    http::{Auth, Body, CallError, Method, NodeUrl, Request},
    service::{Authorization, EndpointSpec, ServiceVersionSpec},
    service_package,
    target::Work,
};

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// The service looked at the query, or answered it.
    Answers,
    /// The service let the query in, and failed at it: at this one, or at any.
    Fails,
    /// Credentials are wanted, or others.
    Refuses,
    /// There is no such service, generation or endpoint, it is out of order, or something else answers in its place.
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
    version.endpoints.iter().find(|one| is_harmless(one.kind.as_deref()))
}

/// Whether a query of such an endpoint changes nothing, however often it is put.
pub(super) fn is_harmless(kind: Option<&str>) -> bool {
    kind.is_some_and(|kind| kind.ends_with("_PREDICTION") || matches!(kind, "STD_CLUSTERING" | "STD_FORECAST"))
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
    put(place, version, endpoint, Map::new(), key).await
}

/// The first query that the version's manifest brings along for this endpoint: `testQueries`, each `{"q": {…}}`.
pub(super) async fn test_query(
    work: &Work<'_>,
    place: &Place<'_>,
    version: &ServiceVersionSpec,
    endpoint: &EndpointSpec,
) -> Result<Option<Map<String, Value>>, StepError> {
    let manifest = service_package::manifest(work.packages, version, &place.tools.host.scratch()).await?;
    let endpoints = manifest.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let mine = endpoints.filter(|one| one.get("id").and_then(Value::as_str) == Some(endpoint.id.as_str()));
    let first = mine.filter_map(|one| one.get("testQueries")?.as_array()?.first()).next();
    Ok(first.and_then(|query| query.get("q").unwrap_or(query).as_object()).cloned())
}

/// Puts this query to this generation.
pub(super) async fn put(
    place: &Place<'_>,
    version: &ServiceVersionSpec,
    endpoint: &EndpointSpec,
    mut query: Map<String, Value>,
    key: Option<&Secret>,
) -> Result<Shown, CallError> {
    let url = NodeUrl::parse(&place.spec.infrastructure.node.url, &place.tools.http.settings().blocked);
    let url = url.map_err(|error| CallError::reported(error.into()))?;
    let auth = key.map_or(Auth::None, |key| Auth::Basic(key.clone()));
    let node = place.tools.http.caller(url, auth, place.node.trust_all_certificates);
    let generation = service_package::generation(place.service, version);
    let path = ["public", "api", "v1", place.id(), &endpoint.id, caller::verb(endpoint.kind.as_deref())];
    query.insert("dispatch".to_owned(), json!({"forcedGeneration": generation}));
    let body = Body::Json(Value::Object(query));
    let request = Request { body, ..Request::new(Method::POST, &path, "asking the service for an answer") };
    let exchange = node.exchange(request).await?;
    // A proxy's page, or a login's, says nothing of the service.
    let told = exchange.value().is_some();
    Ok(match exchange.status {
        401 | 403 => Shown::Refuses,
        200..300 | 400 | 422 if told => Shown::Answers,
        500 if told => Shown::Fails,
        status => Shown::Silent(status),
    })
}

/// A status that is no answer, in words.
pub(super) fn said(status: u16) -> String {
    match status {
        200..300 | 400 | 422 | 500 => {
            format!("status {status} without JSON: look at what is before the node, such as a proxy or a login page")
        }
        _ => format!("status {status}"),
    }
}
