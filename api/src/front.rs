//! The front in an image for a cloud: it speaks a platform's container contract, and passes queries to the API node beside it.
//!
//! * [`Platform`]: which contract, with its usual port and addresses. [`FrontSettings`]: what is served, and the bounds.
//! * [`Verb`]: what the node is asked to do with an endpoint. [`Upstream`]: the node.
//! * `raw`: contracts that pass the node's own bodies. `instances`: Vertex AI's. `rows`: Snowflake's. `calls`: many queries of one request, in order.

mod answer;
mod calls;
mod instances;
mod platform;
mod raw;
mod rows;
mod upstream;
mod verb;

use std::{sync::Arc, time::Duration};

use poem::{
    Endpoint, EndpointExt, Request, Response, Result,
    endpoint::BoxEndpoint,
    http::{Method, StatusCode},
};
use tokio::sync::{Semaphore, watch};

pub use self::{
    platform::{Platform, Routes},
    upstream::{Answer, Upstream, UpstreamError},
    verb::Verb,
};
use crate::{body::body, failure::Failure};

/// What a front serves, and how much of it.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// Whose contract.
    pub platform: Platform,
    /// Where.
    pub routes: Routes,
    /// What the node is asked to do.
    pub verb: Verb,
    /// The names of arguments that come by place.
    pub arguments: Vec<String>,
    /// The largest body that is taken, in bytes.
    pub body_limit: usize,
    /// The longest time for one request.
    pub timeout: Duration,
    /// Requests at once; more are asked to come back.
    pub at_once: usize,
}

/// Whether the front takes queries: false once it drains.
pub type Open = watch::Receiver<bool>;

/// The queries that a front is answering.
#[derive(Clone, Debug)]
pub struct UnderWay {
    places: Arc<Semaphore>,
    all: usize,
}

impl UnderWay {
    /// How many there are now.
    pub fn count(&self) -> usize {
        self.all.saturating_sub(self.places.available_permits())
    }
}

/// All addresses of a front, and what it is answering.
pub fn front<U: Upstream>(
    settings: FrontSettings,
    upstream: U,
    open: Open,
) -> (BoxEndpoint<'static, Response>, UnderWay) {
    let all = settings.at_once.clamp(1, Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(all));
    let under_way = UnderWay { places: Arc::clone(&places), all };
    (Front { settings, upstream: Arc::new(upstream), open, places }.boxed(), under_way)
}

struct Front<U> {
    settings: FrontSettings,
    upstream: Arc<U>,
    open: Open,
    places: Arc<Semaphore>,
}

impl<U: Upstream> Endpoint for Front<U> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let routes = &self.settings.routes;
        let path = request.uri().path();
        let answer = if path == routes.predict {
            self.query(request).await
        } else if routes.alive.as_deref() == Some(path) {
            asked_with(&request, &[Method::GET, Method::HEAD]).map(|()| answer::health())
        } else if path == routes.health {
            self.health(&request).await
        } else {
            Err(Failure::not_found())
        };
        Ok(answer.unwrap_or_else(poem::IntoResponse::into_response))
    }
}

impl<U: Upstream> Front<U> {
    /// Whether a query would be answered now.
    async fn health(&self, request: &Request) -> Result<Response, Failure> {
        asked_with(request, &[Method::GET, Method::HEAD])?;
        if *self.open.borrow() && self.upstream.alive().await { Ok(answer::health()) } else { Err(answer::away()) }
    }

    async fn query(&self, request: Request) -> Result<Response, Failure> {
        asked_with(&request, &[Method::POST])?;
        let _place = self.places.try_acquire().map_err(|_| answer::busy())?;
        let work = async {
            let body = body(request, self.settings.body_limit).await?;
            let (settings, upstream) = (&self.settings, &*self.upstream);
            match settings.platform {
                Platform::SageMaker | Platform::AzureMl => raw::pass(settings.verb, upstream, body).await,
                Platform::VertexAi => instances::pass(settings.verb, upstream, &body).await,
                Platform::Snowflake => rows::pass(settings.verb, &settings.arguments, upstream, &body).await,
            }
        };
        tokio::time::timeout(self.settings.timeout, work).await.map_err(|_| answer::late())?
    }
}

fn asked_with(request: &Request, methods: &[Method]) -> Result<(), Failure> {
    if methods.contains(request.method()) { Ok(()) } else { Err(Failure::of_status(StatusCode::METHOD_NOT_ALLOWED)) }
}

#[cfg(test)]
mod tests;
