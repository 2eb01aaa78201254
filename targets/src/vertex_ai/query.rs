//! A query to what is deployed. The platform's own form is `{"instances": […]}`; a query of an API node is one instance, or several in `items`. The answer is an API
//! node's again: `{"result": …}`, or `{"results": […]}`.

use engine::failure::Failure;
use serde_json::json;

use super::session::Session;
use crate::{
    codes,
    http::{Body, Method, Request},
    image::contract::EndpointType,
    managed::{answers, image, opener::internal},
    target::{ServiceAnswer, ServiceQuery},
};

pub(super) async fn query(s: &Session<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
    if s.endpoint().await?.is_none() {
        let message = "The endpoint is not there. Update the deployment first.";
        return Err(Failure::new(codes::PLATFORM_RESOURCE_MISSING, message));
    }
    let kind = served(s, query)?;
    let many = query.body["items"].as_array().filter(|_| answers::takes_many(kind)).cloned();
    let instances = many.clone().unwrap_or_else(|| vec![query.body.clone()]);
    let action = format!("{}:predict", s.endpoint);
    let path = s.path(&["endpoints", &action]);
    let doing = "querying the endpoint";
    let asked = json!({"instances": instances});
    let request = || Request {
        body: Body::Json(asked.clone()),
        timeout: Some(query.timeout),
        ..Request::new(Method::POST, &path, doing)
    };
    let got = s.google.send(request).await?;
    let said = got.told(10_000);
    let body = match said["predictions"].as_array().filter(|_| got.succeeded()) {
        Some(predictions) if many.is_some() => answers::many(predictions.clone()),
        Some(predictions) => answers::one(kind, predictions.first().cloned().unwrap_or_default()),
        None => said,
    };
    Ok(ServiceAnswer { status: got.status, body })
}

/// What kind of endpoint is asked.
fn served(s: &Session<'_>, query: &ServiceQuery) -> Result<EndpointType, Failure> {
    let version = s.service.versions.first().ok_or_else(|| internal("a service of no version"))?;
    Ok(image::endpoint(&query.endpoint.id, version)?.kind)
}
