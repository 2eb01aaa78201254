//! The OpenAPI document of a deployed service: which paths it answers, by the types of its endpoints (wire contract, section 4.2).

use entities::deployment;
use serde_json::{Map, Value, json};
use targets::{
    spec::{Authorization, DeploySpec, EndpointSpec, ServiceSpec},
    target::{Calling, Framing},
};

use crate::{
    Deployer,
    error::{Error, Result},
    live, platform,
    rights::{self, Access},
    status,
    viewer::Viewer,
};

/// The document of what is live.
///
/// # Errors
/// `NOT_FOUND`, also for a service that names no endpoints; `NOT_DEPLOYED`.
pub async fn document(deployer: &Deployer, viewer: &Viewer, deployment_id: &str) -> Result<Value> {
    let db = deployer.db.pool();
    let field = "deploymentId";
    let row = rights::require_deployment(db, viewer, deployment_id, Access::See, field).await?;
    let served = live::served(db, deployment_id).await?;
    let spec = served.ok_or_else(|| crate::drift::not_deployed(field))?.body;
    let calling = calling(deployer, &row, &spec).await?;
    let service = spec.service.ok_or_else(|| crate::drift::not_deployed(field))?;
    let endpoints: Vec<_> = service.endpoints().into_iter().cloned().collect();
    if endpoints.is_empty() {
        let message = "The deployed version names no endpoints, so nothing is known of its API.";
        return Err(Error::field("NOT_FOUND", field, message));
    }
    let heavy = status::heavy(deployer, viewer, deployment_id).await?;
    let urls = heavy.urls.iter().map(|(_, url)| url.trim_end_matches('/'));
    Ok(match calling {
        Calling::ApiNode => of(&service, &endpoints, urls),
        Calling::Platform { path, framing } => through_gate(&service, &endpoints, &path, framing, urls),
    })
}

/// The path of the platform's own gate, where callers come by one; None where they ask as they ask an API node, and where nothing is deployed.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn gate(deployer: &Deployer, viewer: &Viewer, deployment_id: &str) -> Result<Option<String>> {
    let db = deployer.db.pool();
    let row = rights::require_deployment(db, viewer, deployment_id, Access::See, "deploymentId").await?;
    let Some(served) = live::served(db, deployment_id).await? else { return Ok(None) };
    Ok(match calling(deployer, &row, &served.body).await? {
        Calling::ApiNode => None,
        Calling::Platform { path, .. } => Some(path),
    })
}

/// How callers ask what is deployed.
async fn calling(deployer: &Deployer, row: &deployment::Model, spec: &DeploySpec) -> Result<Calling> {
    let target = platform::of_deployment(deployer, row).await?;
    let calling = target.services().map_or(Ok(Calling::ApiNode), |services| services.calling(spec));
    calling.map_err(|failure| Error::fault(format!("what is deployed can't be read: {failure:?}")))
}

/// How callers of an API node prove who they are: the scheme's name, and the scheme. None where everybody may call, or nobody knows.
fn security(service: &ServiceSpec) -> Option<Vec<(&'static str, Value)>> {
    let says = |method: &str| service.versions.iter().any(|one| one.auth_method.as_deref() == Some(method));
    let (keys, tokens) = match &service.authorization {
        Some(Authorization::Public) => return None,
        Some(Authorization::ApiKeys { .. }) => (true, false),
        Some(Authorization::Oauth2(_)) => (false, true),
        None => (says("API_KEYS"), says("OAUTH2")),
    };
    let mut schemes = Vec::new();
    if keys {
        let said = "An API key, as the user name; without a password.";
        schemes.push(("apiKey", json!({"type": "http", "scheme": "basic", "description": said})));
        let said = "An API key.";
        schemes.push(("apiKeyBearer", json!({"type": "http", "scheme": "bearer", "description": said})));
    }
    if tokens {
        let said = "A token of the issuer that the service trusts.";
        schemes
            .push(("token", json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": said})));
    }
    Some(schemes).filter(|schemes| !schemes.is_empty())
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
    let servers: Vec<_> = urls.map(|url| json!({"url": format!("{url}{base}")})).collect();
    let servers = if servers.is_empty() { vec![json!({"url": base})] } else { servers };
    let mut document = json!({
        "openapi": "3.0.3",
        "info": {"title": service.service_id, "version": versions(service)},
        "servers": servers,
        "paths": paths,
    });
    if let Some(schemes) = security(service) {
        // One of them is enough.
        document["security"] = schemes.iter().map(|(name, _)| json!({*name: []})).collect();
        let schemes: Map<_, _> = schemes.into_iter().map(|(name, scheme)| (name.to_owned(), scheme)).collect();
        document["components"] = json!({"securitySchemes": schemes});
    }
    document
}

fn versions(service: &ServiceSpec) -> String {
    service.versions.iter().map(|one| one.version.as_str()).collect::<Vec<_>>().join(", ")
}

/// Of the one endpoint that a platform serves behind its own gate.
fn through_gate<'a>(
    service: &ServiceSpec,
    endpoints: &[EndpointSpec],
    path: &str,
    framing: Framing,
    urls: impl Iterator<Item = &'a str>,
) -> Value {
    let chosen = service.endpoint.as_deref();
    let endpoint = endpoints.iter().find(|one| Some(one.id.as_str()) == chosen).or(endpoints.first());
    let inputs = verbs(endpoint.and_then(|endpoint| endpoint.kind.as_deref())).iter();
    let queries: Vec<_> = inputs
        .map(|(_, input)| json!({"type": "object", "required": [input], "properties": {*input: shape(input)}}))
        .collect();
    let query = if let [only] = &queries[..] { only.clone() } else { json!({"oneOf": queries}) };
    let list = |name: &str, items: Value| json!({"type": "object", "required": [name], "properties": {name: {"type": "array", "items": items}}});
    let rows = || list("data", json!({"type": "array", "items": {}}));
    let (body, answer) = match framing {
        Framing::Plain => (query, json!({"type": "object"})),
        Framing::Instances => (list("instances", query), list("predictions", json!({}))),
        Framing::Rows => (rows(), rows()),
    };
    let content = |schema: Value| json!({"application/json": {"schema": schema}});
    let name = endpoint.map_or("", |endpoint| endpoint.id.as_str());
    let base = |url: &'a str| url.strip_suffix(path).unwrap_or(url);
    let servers: Vec<_> = urls.map(|url| json!({"url": base(url)})).collect();
    if framing == Framing::Rows && servers.is_empty() {
        return json!({
            "openapi": "3.0.3",
            "info": {
                "title": service.service_id, "version": versions(service),
                "description": "Called through its SQL function: it has no address that callers reach over HTTP.",
            },
            "paths": {},
        });
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": service.service_id, "version": versions(service),
            "description": "Served behind the platform's own gate: callers sign in as the platform demands.",
        },
        "servers": if servers.is_empty() { vec![json!({"url": "/"})] } else { servers },
        "paths": {path: {"post": {
            "summary": format!("a query of {name}"),
            "operationId": format!("{name}_query"),
            "requestBody": {"required": true, "content": content(body)},
            "responses": {
                "200": {"description": "The answer.", "content": content(answer)},
                "default": {"description": "What went wrong.", "content": content(json!({"type": "object"}))},
            },
        }}},
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
        let document = of(&service, &endpoints, ["http://n:12000"].into_iter());
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(paths, ["/f/run", "/score/predict", "/score/predict-multi", "/x/predict", "/x/predict-multi"]);
        assert_eq!(document["servers"][0]["url"], "http://n:12000/public/api/v1/s");
    }

    #[test]
    fn it_is_said_how_callers_prove_who_they_are() {
        let document = |service: Value| {
            let mut whole = json!({"publishedServiceId": "s", "serviceId": "s", "versions": []});
            whole.as_object_mut().unwrap().extend(service.as_object().cloned().unwrap());
            let endpoint = EndpointSpec { id: "f".to_owned(), kind: None };
            of(&serde_json::from_value(whole).unwrap(), &[endpoint], std::iter::empty())
        };
        let version =
            |method: &str| json!([{"version": "v", "sha256": "", "size": 0, "probability": 1.0, "authMethod": method}]);
        for open in [
            json!({"authorization": {"method": "PUBLIC"}, "versions": version("API_KEYS")}),
            json!({}),
            json!({"versions": version("PUBLIC")}),
        ] {
            assert!(document(open.clone()).get("security").is_none(), "{open}");
        }
        let keys = document(json!({"versions": version("API_KEYS")}));
        assert_eq!(keys["components"]["securitySchemes"]["apiKey"]["scheme"], "basic");
        assert_eq!(keys["security"], json!([{"apiKey": []}, {"apiKeyBearer": []}]));
        let tokens = document(json!({"authorization": {"method": "OAUTH2", "issuer": "i"}}));
        assert_eq!(tokens["components"]["securitySchemes"]["token"]["bearerFormat"], "JWT");
        assert_eq!(tokens["security"], json!([{"token": []}]));
    }

    #[test]
    fn what_only_sql_reaches_has_no_path() {
        let service: ServiceSpec =
            serde_json::from_value(json!({"publishedServiceId": "s", "serviceId": "s", "versions": []})).unwrap();
        let endpoint = [EndpointSpec { id: "f".to_owned(), kind: None }];
        let document = through_gate(&service, &endpoint, "/predict", Framing::Rows, std::iter::empty());
        assert_eq!((&document["paths"], document.get("servers")), (&json!({}), None));
        let document = through_gate(&service, &endpoint, "/predict", Framing::Rows, ["https://x"].into_iter());
        assert!(document["paths"].get("/predict").is_some());
    }

    #[test]
    fn behind_a_gate_there_is_one_address_and_its_framing() {
        let endpoint = EndpointSpec { id: "f".to_owned(), kind: Some("PY_FUNCTION".to_owned()) };
        let service: ServiceSpec = serde_json::from_value(
            json!({"publishedServiceId": "s", "serviceId": "s", "versions": [], "endpoint": "f"}),
        )
        .unwrap();
        let url = "https://runtime.example.com/endpoints/x/invocations";
        let path = "/endpoints/x/invocations";
        let all = [endpoint];
        let document = through_gate(&service, &all, path, Framing::Plain, [url].into_iter());
        assert_eq!(document["servers"], json!([{"url": "https://runtime.example.com"}]));
        let schema = "/requestBody/content/application~1json/schema";
        let post = &document["paths"][path]["post"];
        assert_eq!(post.pointer(schema).unwrap()["required"], json!(["parameters"]));
        let document = through_gate(&service, &all, "/p:predict", Framing::Instances, ["https://x"].into_iter());
        let post = &document["paths"]["/p:predict"]["post"];
        assert_eq!(
            post.pointer(schema).unwrap()["properties"]["instances"]["items"]["required"],
            json!(["parameters"])
        );
        assert_eq!(document["servers"], json!([{"url": "https://x"}]));
    }
}
