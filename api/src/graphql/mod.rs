//! GraphQL over HTTP, on one path.
//!
//! | request | answer |
//! |---|---|
//! | `POST`, `application/json` | queries and mutations, one or a batch |
//! | `GET ?query=` | queries |
//! | either of them with `Accept: text/event-stream` | events, after the distinct connections mode of graphql-sse |
//! | `GET` with `Upgrade: websocket` | the protocol `graphql-transport-ws` |
//!
//! A mutation needs `POST` and JSON: a page of another site cannot send that without being asked first (and refused, see [`crate::origin`]).

mod events;
mod read;
mod socket;
mod streamed;

use std::sync::Arc;

use async_graphql::{BatchRequest, BatchResponse, Executor, Response as GraphqlResponse};
use poem::{Endpoint, IntoResponse, Request, Response, Result, http::StatusCode};
use tokio_util::sync::CancellationToken;

use crate::{
    auth,
    edge::{Login, RequestId},
    failure::Failure,
    house::{House, Pass},
    metrics::HttpMetrics,
    rate::{self, Rates},
    settings::Settings,
};

pub(crate) const LATE: &str = "This took too long and was given up. Ask for less, or look at what became of it.";

/// What all transports work with.
pub(crate) struct Shared<E, H> {
    pub(crate) executor: E,
    pub(crate) house: Arc<H>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) rates: Arc<Rates>,
    pub(crate) metrics: HttpMetrics,
    pub(crate) shutdown: CancellationToken,
}

/// The endpoint.
pub(crate) struct GraphqlEndpoint<E, H>(pub(crate) Arc<Shared<E, H>>);

impl<E: Executor, H: House> Endpoint for GraphqlEndpoint<E, H> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let id = request.data::<RequestId>().cloned().unwrap_or_else(|| RequestId("-".into()));
        let answered = if request.headers().contains_key("upgrade") {
            socket::open(&self.0, request, id).await
        } else {
            self.0.answer(request, &id).await
        };
        Ok(answered.unwrap_or_else(IntoResponse::into_response))
    }
}

impl<E: Executor, H: House> Shared<E, H> {
    async fn answer(&self, request: Request, id: &RequestId) -> Result<Response, Failure> {
        // Whoever asks too often is refused before the database is asked who that is.
        let claim = auth::claim(&request);
        let key = if let auth::Claim::Key(key) = &claim { Some(key) } else { None };
        let _place = self.rates.enter(key).await?;
        let pass = auth::enter(&*self.house, &request).await?;
        let timeout = self.settings.request_timeout();
        let accept = read::Accept::of(&request);
        let last_event = request.header("last-event-id").and_then(|seq| seq.parse().ok());
        let late = |_| Failure::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", LATE);
        let mut batch = tokio::time::timeout(timeout, read::batch(request, &self.settings)).await.map_err(late)??;
        self.rates.take(&pass.key, rate::cost(&mut batch, &self.settings.limits).saturating_sub(1))?;
        let login = Login(self.house.login(&pass.viewer).into());
        let mut response = if accept == read::Accept::Events {
            let BatchRequest::Single(operation) = batch else {
                return Err(Failure::bad_request("A stream of events carries one operation, not a batch."));
            };
            events::answer(self, operation, pass, id, last_event)
        } else {
            let batch = self.with_data(batch, &pass, id);
            let answer = tokio::time::timeout(timeout, self.executor.execute_batch(batch)).await.map_err(late)?;
            json(&answer, accept)?
        };
        response.set_data(login);
        Ok(response)
    }

    fn with_data(&self, batch: BatchRequest, pass: &Pass<H::Viewer>, id: &RequestId) -> BatchRequest {
        let give = |mut one: async_graphql::Request| {
            one.data = self.house.request_data(pass, &id.0);
            one
        };
        match batch {
            BatchRequest::Single(one) => BatchRequest::Single(give(one)),
            BatchRequest::Batch(all) => BatchRequest::Batch(all.into_iter().map(give).collect()),
        }
    }
}

/// Whether nothing was executed: the document is wrong, over a limit, or does not fit the schema.
pub(crate) fn is_request_error(response: &GraphqlResponse) -> bool {
    !response.errors.is_empty()
        && response.data == async_graphql::Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

fn json(answer: &BatchResponse, accept: read::Accept) -> Result<Response, Failure> {
    let body = serde_json::to_vec(answer).map_err(|error| {
        tracing::error!(error = %error, "an answer cannot be written as JSON");
        Failure::internal()
    })?;
    let (content_type, status) = match (accept, answer) {
        (read::Accept::GraphqlResponse, BatchResponse::Single(one)) if is_request_error(one) => {
            ("application/graphql-response+json; charset=utf-8", StatusCode::BAD_REQUEST)
        }
        (read::Accept::GraphqlResponse, BatchResponse::Single(_)) => {
            ("application/graphql-response+json; charset=utf-8", StatusCode::OK)
        }
        _ => ("application/json; charset=utf-8", StatusCode::OK),
    };
    Ok(Response::builder().status(status).content_type(content_type).body(body))
}
