//! A query to what is deployed, with the endpoint's own key or token, which is nowhere but in memory.

use engine::{failure::Failure, secrets::Secret};
use serde_json::Value;

use super::{API_VERSION, session::Session, settings::AuthMode};
use crate::{
    azure::connection::Azure,
    codes,
    http::{Auth, Body, Method, NodeUrl, Request},
    target::{ServiceAnswer, ServiceQuery},
};

pub(super) async fn query(azure: &Azure, s: &Session<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
    let endpoint = s.endpoint().await?.ok_or_else(|| {
        Failure::new(codes::PLATFORM_RESOURCE_MISSING, "The endpoint is not there. Update the deployment first.")
    })?;
    let uri = endpoint["properties"]["scoringUri"].as_str().unwrap_or_default();
    let url = azure.url(uri)?;
    refuse_elsewhere(s, &url)?;
    let (action, field) = match s.settings.auth_mode {
        AuthMode::Key => ("listKeys", "primaryKey"),
        AuthMode::AmlToken => ("token", "accessToken"),
    };
    let path = [s.endpoint_path(), vec![action]].concat();
    let mut answer = s.arm.post(&path, API_VERSION, Value::Null, "asking for the endpoint's key").await?;
    let Value::String(key) = answer[field].take() else {
        return Err(Failure::new(codes::NODE_ANSWER_UNEXPECTED, "Azure did not say the endpoint's key."));
    };
    let node = azure.tools.http.platform("The endpoint", url, Auth::Bearer(Secret::from(key)));
    let doing = "querying the endpoint";
    let request = Request {
        body: Body::Json(query.body.clone()),
        timeout: Some(query.timeout),
        ..Request::new(Method::POST, &[], doing)
    };
    let answer = node.exchange(request).await?;
    Ok(ServiceAnswer { status: answer.status, body: answer.told(10_000) })
}

/// The endpoint's key goes over TLS, or to where the connection's credentials went anyway.
fn refuse_elsewhere(s: &Session<'_>, url: &NodeUrl) -> Result<(), Failure> {
    let of =
        |text: &str| url::Url::parse(text).ok().map(|url| (url.scheme().to_owned(), url.host_str().map(str::to_owned)));
    let there = of(url.as_str());
    if there.as_ref().is_some_and(|(scheme, _)| scheme == "https") || there == of(s.connection.management()) {
        return Ok(());
    }
    Err(Failure::new(
        codes::NODE_URL_INVALID,
        "Azure named an address for queries that is not https. Slipway does not send the endpoint's key there.",
    ))
}
