//! Queries through the deployer. It has the API keys of the deployment, and those in the versions' manifests; tokens it has none.
//!
//! The first node that can answer is asked, in the order in which the spec names them; those that did not answer a moment ago come last. A query that would run
//! something is put to one node alone, which is asked before whether it lives; every other query goes to the next node when no answer comes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use engine::failure::Failure;

use super::{
    probe,
    session::{Place, of_look},
};
use crate::{
    caller, codes,
    http::{Auth, Body, CallError, Effect, Method, NodeUrl, Request},
    managed::opener::Opener,
    service::Authorization,
    spec::DeploySpec,
    target::{Look, ServiceAnswer, ServiceQuery},
    tools::Tools,
};

/// Of an answer that is no JSON, so many characters are kept.
const MOST_TEXT: usize = 100_000;
/// While another node can be asked, one has so long for an answer.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// And so long to say that it lives.
const LIVES: Duration = Duration::from_secs(2);
/// So long a node that did not answer is asked last.
const REMEMBERED: Duration = Duration::from_secs(30);
/// So many of them are remembered.
const MOST: usize = 1_000;

/// The nodes that did not answer a moment ago, by URL. Of one process.
#[derive(Debug, Default)]
pub(super) struct Silent(Mutex<HashMap<String, Instant>>);

impl Silent {
    fn has(&self, url: &str) -> bool {
        let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(url).is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    fn note(&self, url: &str, answers: bool) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers {
            nodes.remove(url);
            return;
        }
        nodes.retain(|_, since| since.elapsed() < REMEMBERED);
        if nodes.len() < MOST {
            nodes.insert(url.to_owned(), Instant::now());
        }
    }
}

/// What came of asking one node.
enum Asked {
    Answered(ServiceAnswer),
    /// An answer of one that can't serve the service now: another may.
    Unable(ServiceAnswer),
    /// None came, and another node may be asked.
    Silent(Failure),
    Failed(Failure),
}

/// Asks the nodes until one answers.
pub(super) async fn query(
    tools: &Tools,
    silent: &Silent,
    look: Look<'_>,
    query: &ServiceQuery,
) -> Result<ServiceAnswer, Failure> {
    let places = look.spec.infrastructure.places();
    let mut nodes: Vec<DeploySpec> =
        places.iter().map(|place| look.spec.on(place.name).unwrap_or_else(|| look.spec.clone())).collect();
    nodes.sort_by_key(|spec| silent.has(&spec.infrastructure.node.url));
    let end = Instant::now() + query.timeout;
    let (mut unable, mut failed) = (None, None);
    for (at, spec) in nodes.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let url = &spec.infrastructure.node.url;
        let is_last = at + 1 == nodes.len();
        match ask(tools, Look { spec, ..look }, query, left, is_last).await {
            Asked::Answered(answer) => {
                silent.note(url, true);
                return Ok(answer);
            }
            Asked::Failed(failure) => {
                // What fails before the node was asked says nothing of it.
                if failure.code == codes::NODE_TIMED_OUT {
                    silent.note(url, false);
                }
                return Err(failure);
            }
            Asked::Unable(answer) => {
                silent.note(url, false);
                unable = unable.or(Some(answer));
            }
            Asked::Silent(failure) => {
                silent.note(url, false);
                failed = failed.or(Some(failure));
            }
        }
    }
    match (unable, failed) {
        (Some(answer), _) => Ok(answer),
        (None, Some(failure)) => Err(failure),
        (None, None) => {
            Err(super::session::missing("apiNodes", "Enter the URL and the admin key of an API node at least."))
        }
    }
}

async fn ask(tools: &Tools, look: Look<'_>, query: &ServiceQuery, left: Duration, is_last: bool) -> Asked {
    match put(tools, look, query, left, is_last).await {
        // A node that is out of order, or does not have the service any more. What would run something may have run all the same.
        Ok(answer) if matches!(answer.status, 404 | 503) && is_repeatable(query) => Asked::Unable(answer),
        Ok(answer) => Asked::Answered(answer),
        Err(asked) => asked,
    }
}

/// Whether the query may be put twice.
fn is_repeatable(query: &ServiceQuery) -> bool {
    let kind = query.endpoint.kind.as_deref();
    probe::is_harmless(kind) || kind == Some("DATASETS_LOOKUP")
}

async fn put(
    tools: &Tools,
    look: Look<'_>,
    query: &ServiceQuery,
    left: Duration,
    is_last: bool,
) -> Result<ServiceAnswer, Asked> {
    let opener = Opener::Look(look.secrets);
    let place = Place::open(tools, look.spec, opener).await.map_err(|error| Asked::Failed(of_look(error)))?;
    let auth = credentials(&place, opener).await.map_err(Asked::Failed)?;
    let url = NodeUrl::parse(&place.spec.infrastructure.node.url, &tools.http.settings().blocked);
    let url = url.map_err(|error| Asked::Failed(error.into()))?;
    let node = tools.http.caller(url, auth, place.node.trust_all_certificates);
    let repeatable = is_repeatable(query);
    let began = Instant::now();
    if !repeatable && !is_last {
        lives(&place, LIVES.min(left / 2)).await?;
    }
    let left = left.saturating_sub(began.elapsed());
    let patience = if repeatable && !is_last { FIRST_ANSWER.min(left / 2) } else { left };
    let path = ["public", "api", "v1", place.id(), &query.endpoint.id, caller::verb_of(query)];
    let headers = caller::headers(query);
    let request = Request {
        body: Body::Json(query.body.clone()),
        headers: &headers,
        timeout: Some(patience),
        ..Request::new(Method::POST, &path, "putting a query to the service")
    };
    let exchange = node.exchange(request).await.map_err(|error: CallError| {
        let again = error.retryable && (repeatable || error.effect == Effect::None);
        if again { Asked::Silent(error.failure) } else { Asked::Failed(error.failure) }
    })?;
    Ok(ServiceAnswer { status: exchange.status, body: exchange.told(MOST_TEXT) })
}

/// Refuses a node that does not say that it lives; whatever else is wrong with it, the query's own answer tells.
async fn lives(place: &Place<'_>, within: Duration) -> Result<(), Asked> {
    match place.api.is_alive_within(within).await {
        Ok(false) => {
            let message = "The API node says that it is not alive (isAlive).";
            Err(Asked::Silent(Failure::new(codes::API_NODE_NOT_ALIVE, message)))
        }
        Err(error) if error.retryable => Err(Asked::Silent(error.failure)),
        Ok(true) | Err(_) => Ok(()),
    }
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
