//! A query through the deployer. A service that anybody may call is reached through the API server's proxy, with the infrastructure's own credentials: that works
//! from wherever the API server can be reached. The proxy keeps the `Authorization` header for itself, so a service that wants a key is called where it is exposed.

use engine::failure::{Failure, StepError};
use serde_json::Value;

use super::{
    K8s,
    api::{failure, refs},
    place::Place,
    urls,
};
use crate::{
    caller, codes,
    http::{Auth, Body, Exchange, Method, NodeUrl, Request},
    service::Authorization,
    target::{Look, ServiceAnswer, ServiceQuery},
};

pub(super) async fn query(k8s: &K8s, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
    asked(k8s, look, query).await.map_err(failure)
}

async fn asked(k8s: &K8s, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, StepError> {
    let place = Place::of_look(k8s, look).await?;
    let service = place.goal.service;
    let of_versions = service.versions.iter().filter_map(|version| version.auth_method.as_deref());
    let open = match &service.authorization {
        Some(Authorization::Public) => true,
        Some(_) => false,
        None => of_versions.into_iter().all(|method| method == "PUBLIC"),
    };
    let tail = ["public", "api", "v1", service.service_id.as_str(), query.endpoint.id.as_str(), caller::verb_of(query)];
    let doing = "querying the service";
    let given = caller::headers(query);
    let request = |path| Request {
        headers: &given,
        body: Body::Json(query.body.clone()),
        timeout: Some(query.timeout),
        ..Request::new(Method::POST, path, doing)
    };
    let answer = if open {
        let Some(id) = urls::exposed_service(&place)? else {
            return Err(unreachable("the infrastructure's YAML makes no Service").into());
        };
        let Some(live) = place.owned(&id).await? else { return Err(super::verify::gone(&place).into()) };
        let port = live.pointer("/spec/ports/0/port").and_then(Value::as_u64).unwrap_or(place.goal.port().into());
        let mut path = id.kind.path(&place.api.namespace);
        path.extend([format!("http:{}:{port}", id.name), "proxy".to_owned()]);
        let path: Vec<&str> = refs(&path).into_iter().chain(tail).collect();
        let answer = place.api.through(request(&path)).await?;
        if let Some(said) = refusal(&answer) {
            return Err(unreachable(&said).into());
        }
        answer
    } else {
        let wants_token = service.authorization.is_none()
            && service.versions.iter().any(|version| version.auth_method.as_deref() == Some("OAUTH2"));
        let key = if wants_token { None } else { caller::key(service, place.opener).await? };
        let Some(key) = key else {
            let message = "The deployer can't query this service: callers need a token, or a key that lets in to each of its versions, and none is known. Set API keys on the deployment, or call the service yourself.";
            return Err(Failure::new(codes::QUERY_CREDENTIALS_MISSING, message).into());
        };
        let Some(url) = urls::of(&place).await?.into_iter().next() else {
            return Err(unreachable("it has no address yet").into());
        };
        let url = NodeUrl::parse(&url, &k8s.http.settings().blocked).map_err(Failure::from)?;
        let node = k8s.http.platform("The service", url, Auth::Basic(key));
        node.exchange(request(&tail)).await?
    };
    Ok(ServiceAnswer { status: answer.status, body: body(&answer) })
}

/// What the API server says when it did not reach the service: that is no answer of the service.
fn refusal(answer: &Exchange) -> Option<String> {
    let body = answer.value().filter(|body| {
        let is = |key: &str, value: &str| body.get(key).and_then(Value::as_str) == Some(value);
        is("kind", "Status") && is("apiVersion", "v1") && is("status", "Failure")
    })?;
    // Whose the credentials are, and how Pods are addressed, is not for whoever may query.
    let why = match (answer.status, body.get("reason").and_then(Value::as_str)) {
        (403, _) => {
            "the infrastructure's credentials may not use the API server's proxy for Services (create services/proxy)"
                .to_owned()
        }
        (404, _) => "its Service is not there. Update the deployment".to_owned(),
        (503, _) => "none of its Pods can be queried now. Look at the deployment's health, or try again".to_owned(),
        (status, reason) => format!(
            "the API server did not reach its Pods (status {status}, {}). Try again",
            reason.unwrap_or("no reason given")
        ),
    };
    Some(why)
}

fn body(answer: &Exchange) -> Value {
    answer.told(100_000)
}

fn unreachable(why: &str) -> Failure {
    Failure::new(codes::K8S_NOT_QUERYABLE, format!("Slipway can't put queries to this service: {why}."))
}
