//! Reading operations out of a request.

use async_graphql::{BatchRequest, Request as Operation, http::parse_query_string, parser::types::OperationType};
use poem::{
    Request,
    http::{Method, StatusCode},
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{body::body, failure::Failure, limits, settings::Settings};

/// What the client wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accept {
    /// `application/json`, or nothing said.
    Json,
    /// `application/graphql-response+json`: request errors get a status of their own.
    GraphqlResponse,
    /// `text/event-stream`.
    Events,
}

impl Accept {
    pub(crate) fn of(request: &Request) -> Self {
        let accept = request.header("accept").unwrap_or_default().to_ascii_lowercase();
        let mut kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        kinds
            .find_map(|kind| match kind {
                "text/event-stream" => Some(Self::Events),
                "application/graphql-response+json" => Some(Self::GraphqlResponse),
                "application/json" => Some(Self::Json),
                _ => None,
            })
            .unwrap_or(Self::Json)
    }
}

/// The operations of a request, within the limits on their size and number.
pub(crate) async fn batch(request: Request, settings: &Settings) -> Result<BatchRequest, Failure> {
    match *request.method() {
        Method::GET => from_query(&request, settings).map(BatchRequest::Single),
        Method::POST => from_body(request, settings).await,
        _ => Err(Failure::of_status(StatusCode::METHOD_NOT_ALLOWED)),
    }
}

/// `GET`: queries, or subscriptions as events. A link must not change anything.
fn from_query(request: &Request, settings: &Settings) -> Result<Operation, Failure> {
    let query = request.uri().query().unwrap_or_default();
    let mut operation = parse_query_string(query)
        .ok()
        .filter(|operation| !operation.query.is_empty())
        .ok_or_else(|| Failure::bad_request("GET needs the parameter query, and variables and extensions as JSON."))?;
    let refused =
        |error: async_graphql::ServerError| Failure::new(StatusCode::BAD_REQUEST, "DOCUMENT_INVALID", error.message);
    limits::measure(&operation.query, &settings.limits).map_err(refused)?;
    let document = operation.parsed_query().map_err(refused)?;
    if document.operations.iter().any(|(_, one)| one.node.ty == OperationType::Mutation) {
        return Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MUTATION_NEEDS_POST",
            "Send mutations with POST and content-type: application/json.",
        ));
    }
    Ok(operation)
}

async fn from_body(request: Request, settings: &Settings) -> Result<BatchRequest, Failure> {
    if !is_json(&request) {
        return Err(Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "CONTENT_TYPE_INVALID",
            "Send content-type: application/json.",
        ));
    }
    let body = body(request, settings.body_limit).await?;
    let batch = parse(&body)
        .ok_or_else(|| Failure::bad_request("The body is no JSON object with a query, nor a list of them."))?;
    match &batch {
        BatchRequest::Batch(all) if all.len() > settings.batch_limit => Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "BATCH_TOO_LARGE",
            format!("A batch has at most {} operations.", settings.batch_limit),
        )),
        _ => Ok(batch),
    }
}

/// An object, or a list of objects that is not empty. (Left to itself the deserializer takes a list for an object's fields in order.)
fn parse(body: &[u8]) -> Option<BatchRequest> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read {
        One(Map<String, Value>),
        Many(Vec<Map<String, Value>>),
    }
    let operation = |map| serde_json::from_value::<Operation>(Value::Object(map)).ok();
    match serde_json::from_slice(body).ok()? {
        Read::One(map) => operation(map).map(BatchRequest::Single),
        Read::Many(all) if all.is_empty() => None,
        Read::Many(all) => all.into_iter().map(operation).collect::<Option<_>>().map(BatchRequest::Batch),
    }
}

/// A form can be sent by any page; JSON cannot.
fn is_json(request: &Request) -> bool {
    let kind = request.content_type().and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}
