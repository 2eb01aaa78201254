//! The OpenAPI document of a deployed service: which paths it answers, by the types of its endpoints (wire contract, section 4.2).

use serde_json::{Map, Value, json};
use targets::spec::{EndpointSpec, ServiceSpec};

use crate::{
    Deployer,
    error::{Error, Result},
    live,
    rights::{self, Access},
    status,
    viewer::Viewer,
};

/// The document of what is live.
///
/// # Errors
/// `NOT_FOUND`; `NOT_DEPLOYED`, also for a service that names no endpoints.
pub async fn document(deployer: &Deployer, viewer: &Viewer, deployment_id: &str) -> Result<Value> {
    let db = deployer.db.pool();
    let field = "deploymentId";
    rights::require_deployment(db, viewer, deployment_id, Access::See, field).await?;
    let served = live::served(db, deployment_id).await?;
    let service = served.and_then(|spec| spec.service).ok_or_else(|| crate::drift::not_deployed(field))?;
    let endpoints = service.versions.first().map_or(&[][..], |version| &version.endpoints);
    if endpoints.is_empty() {
        let message = "The deployed version names no endpoints, so nothing is known of its API.";
        return Err(Error::field("NOT_FOUND", field, message));
    }
    let heavy = status::heavy(deployer, viewer, deployment_id).await?;
    Ok(of(&service, endpoints, heavy.urls.iter().map(|(_, url)| url.as_str())))
}

fn of<'a>(service: &ServiceSpec, endpoints: &[EndpointSpec], urls: impl Iterator<Item = &'a str>) -> Value {
    let base = format!("/public/api/v1/{}", service.service_id);
    let mut paths = Map::new();
    for endpoint in endpoints {
        for &(verb, input) in verbs(endpoint.kind.as_deref()) {
            let operation = json!({"post": {
                "summary": format!("{verb} of {}", endpoint.id),
                "operationId": format!("{}_{verb}", endpoint.id),
                "requestBody": {"required": true, "content": {"application/json": {"schema": {
                    "type": "object", "required": [input], "properties": {input: shape(input)},
                }}}},
                "responses": {
                    "200": {"description": "The answer.", "content": {"application/json": {"schema": {"type": "object"}}}},
                    "default": {"description": "What went wrong.", "content": {"application/json": {"schema": {"type": "object"}}}},
                },
            }});
            paths.insert(format!("/{}/{verb}", endpoint.id), operation);
        }
    }
    let version = service.versions.iter().map(|one| one.version.as_str()).collect::<Vec<_>>().join(", ");
    let servers: Vec<_> = urls.map(|url| json!({"url": format!("{}{base}", url.trim_end_matches('/'))})).collect();
    let servers = if servers.is_empty() { vec![json!({"url": base})] } else { servers };
    json!({
        "openapi": "3.0.3",
        "info": {"title": service.service_id, "version": version},
        "servers": servers,
        "paths": paths,
    })
}

/// What an endpoint of this type is asked, and where its input stands. An unknown type is asked as a prediction.
fn verbs(kind: Option<&str>) -> &'static [(&'static str, &'static str)] {
    match kind {
        Some("STD_FORECAST") => &[("forecast", "items")],
        Some("STD_CAUSAL_PREDICTION") => &[("predict-effect", "features"), ("predict-effect-multi", "items")],
        Some("DATASETS_LOOKUP") => &[("lookup", "data"), ("lookup-multi", "items")],
        Some("SQL_QUERY") => &[("query", "parameters")],
        Some("PY_FUNCTION" | "R_FUNCTION") => &[("run", "parameters")],
        _ => &[("predict", "features"), ("predict-multi", "items")],
    }
}

fn shape(input: &str) -> Value {
    if input == "items" { json!({"type": "array", "items": {"type": "object"}}) } else { json!({"type": "object"}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_the_paths_of_its_type() {
        let endpoint = |id: &str, kind: Option<&str>| EndpointSpec { id: id.to_owned(), kind: kind.map(str::to_owned) };
        let endpoints =
            [endpoint("score", Some("STD_PREDICTION")), endpoint("f", Some("PY_FUNCTION")), endpoint("x", None)];
        let service: ServiceSpec =
            serde_json::from_value(json!({"publishedServiceId": "s", "serviceId": "s", "versions": []})).unwrap();
        let document = of(&service, &endpoints, ["http://n:12000/"].into_iter());
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(paths, ["/f/run", "/score/predict", "/score/predict-multi", "/x/predict", "/x/predict-multi"]);
        assert_eq!(document["servers"][0]["url"], "http://n:12000/public/api/v1/s");
    }
}
