//! A query to what is deployed. The platform's own form is `{"instances": […]}`; a query of an API node is one instance, or several in `items`.

use engine::failure::Failure;
use serde_json::json;

use super::session::Session;
use crate::{
    codes,
    http::{Body, Method, Request},
    target::{ServiceAnswer, ServiceQuery},
};

pub(super) async fn query(s: &Session<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
    if s.endpoint().await?.is_none() {
        let message = "The endpoint is not there. Update the deployment first.";
        return Err(Failure::new(codes::PLATFORM_RESOURCE_MISSING, message));
    }
    let many = query.body["items"].as_array().cloned();
    let instances = many.clone().unwrap_or_else(|| vec![query.body.clone()]);
    let action = format!("{}:predict", s.endpoint);
    let path = s.path(&["endpoints", &action]);
    let doing = "querying the endpoint";
    let body = Body::Json(json!({"instances": instances}));
    let request = Request { body, timeout: Some(query.timeout), ..Request::new(Method::POST, &path, doing) };
    let got = s.google.send(request).await?;
    let said = got.told(10_000);
    let body = match said["predictions"].as_array() {
        Some(predictions) if got.succeeded() && many.is_some() => json!({"results": predictions}),
        Some(predictions) if got.succeeded() => predictions.first().cloned().unwrap_or_default(),
        _ => said,
    };
    Ok(ServiceAnswer { status: got.status, body })
}
