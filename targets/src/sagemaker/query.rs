//! Queries, through SageMaker's runtime.

use bytes::Bytes;
use engine::failure::Failure;
use serde_json::{Value, json};

use super::session::Place;
use crate::{
    aws::{Ask, Service},
    codes,
    target::{ServiceAnswer, ServiceQuery},
};

pub(super) async fn query(place: &Place<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
    if place.service.endpoint.as_deref() != Some(query.endpoint.id.as_str()) {
        let message = format!(
            "This deployment serves the endpoint {} alone.",
            place.service.endpoint.as_deref().unwrap_or("that is still to be chosen")
        );
        return Err(Failure::new(codes::ENDPOINT_MISSING, message));
    }
    let doing = "querying the endpoint";
    let ask = Ask {
        service: Service::SageMakerRuntime,
        path: &["endpoints", &place.names.endpoint, "invocations"],
        headers: &[],
        content_type: "application/json",
        body: Bytes::from(query.body.to_string()),
        timeout: Some(query.timeout),
        doing,
    };
    match place.account.call(&ask).await {
        Ok(exchange) => Ok(ServiceAnswer { status: exchange.status, body: body(&exchange.body) }),
        Err(error) => match error.model {
            // The container's own answer, framed by the runtime.
            Some(framed) => Ok(ServiceAnswer {
                status: framed
                    .get("OriginalStatusCode")
                    .and_then(Value::as_u64)
                    .and_then(|status| u16::try_from(status).ok())
                    .unwrap_or(424),
                body: body(framed.get("OriginalMessage").and_then(Value::as_str).unwrap_or_default().as_bytes()),
            }),
            None => Err(error.into()),
        },
    }
}

fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)))
}
