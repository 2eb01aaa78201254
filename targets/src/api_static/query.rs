//! Queries through the deployer. It has the API keys of the deployment, and those in the versions' manifests; tokens it has none.

use engine::failure::Failure;

use super::session::{Place, of_look};
use crate::{
    caller, codes,
    http::{Auth, Body, Effect, Exchange, Method, NodeUrl, Request},
    managed::opener::Opener,
    service::Authorization,
    target::{Look, ServiceAnswer, ServiceQuery},
    tools::Tools,
};

/// Of an answer that is no JSON, so many characters are kept.
const MOST_TEXT: usize = 100_000;

/// Asks the first node that can be reached, in the order in which the spec names them.
pub(super) async fn query(tools: &Tools, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure> {
    let names: Vec<_> =
        look.spec.infrastructure.places().into_iter().map(|place| place.name.map(str::to_owned)).collect();
    let mut first = None;
    for name in names {
        let spec = look.spec.on(name.as_deref());
        let spec = spec.as_ref().unwrap_or(look.spec);
        match ask(tools, Look { spec, ..look }, query).await {
            // It did not get the query: another may.
            Err((failure, true)) => first = first.or(Some(failure)),
            answered => return answered.map_err(|(failure, _)| failure),
        }
    }
    Err(first.unwrap_or_else(|| {
        super::session::missing("apiNodes", "Enter the URL and the admin key of an API node at least.")
    }))
}

async fn ask(tools: &Tools, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, (Failure, bool)> {
    let for_good = |failure: Failure| (failure, false);
    let opener = Opener::Look(look.secrets);
    let place = Place::open(tools, look.spec, opener).await.map_err(|error| for_good(of_look(error)))?;
    let auth = credentials(&place, opener).await.map_err(for_good)?;
    let url = NodeUrl::parse(&place.spec.infrastructure.node.url, &tools.http.settings().blocked);
    let url = url.map_err(|error| for_good(error.into()))?;
    let node = tools.http.caller(url, auth, place.node.trust_all_certificates);
    let path = ["public", "api", "v1", place.id(), &query.endpoint.id, caller::verb(query.endpoint.kind.as_deref())];
    let headers = caller::headers(query);
    let request = Request {
        body: Body::Json(query.body.clone()),
        headers: &headers,
        timeout: Some(query.timeout),
        ..Request::new(Method::POST, &path, "putting a query to the service")
    };
    let exchange: Exchange = node
        .exchange(request)
        .await
        .map_err(|error| (error.failure, error.retryable && error.effect == Effect::None))?;
    Ok(ServiceAnswer { status: exchange.status, body: exchange.told(MOST_TEXT) })
}

async fn credentials(place: &Place<'_>, opener: Opener<'_>) -> Result<Auth, Failure> {
    let wants =
        |method: &str| place.service.versions.iter().any(|version| version.auth_method.as_deref() == Some(method));
    let lacks = |why: &str| {
        let message = format!(
            "The deployer can't query this service: {why} Set API keys on the deployment, or call the service yourself."
        );
        Err(Failure::new(codes::QUERY_CREDENTIALS_MISSING, message))
    };
    match &place.service.authorization {
        Some(Authorization::Public) => Ok(Auth::None),
        Some(Authorization::Oauth2(_)) => lacks("it wants JWTs of an issuer, and the deployer has none."),
        None if wants("OAUTH2") => lacks("its version wants JWTs of an issuer, and the deployer has none."),
        None if !wants("API_KEYS") => Ok(Auth::None),
        Some(Authorization::ApiKeys { .. }) | None => {
            match caller::key(place.service, opener).await.map_err(of_look)? {
                Some(key) => Ok(Auth::Basic(key)),
                None => lacks("no API key is known that lets in to each of its versions."),
            }
        }
    }
}
