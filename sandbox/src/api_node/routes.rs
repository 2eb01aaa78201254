//! Method and path to function: section 4 of the wire contract.

use super::{ApiAsked, caches, import, keys, mapping, query, services};
use crate::auth::Claim;
use crate::reply::{Answer, Refusal, Reply};
use poem::http::StatusCode;
use serde_json::json;

/// Does what a call asks.
pub(super) async fn answer(asked: &ApiAsked<'_>, claim: &Claim) -> Answer {
    let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    match (asked.method.as_str(), segments.as_slice()) {
        ("GET", ["isAlive"]) => alive(asked),
        (method, ["admin", "api", rest @ ..]) => {
            need_key(asked, claim)?;
            admin(asked, method, rest).await
        }
        ("GET" | "POST", ["public", "api", "v1", service, endpoint, verb]) => {
            query::answer(asked, claim, service, endpoint, verb)
        }
        _ => asked.nothing(),
    }
}

/// The probe of a load balancer. It says nothing about services.
fn alive(asked: &ApiAsked<'_>) -> Answer {
    if asked.core.state().alive {
        return Ok(Reply::Json(json!({"alive": true})));
    }
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "NotAliveException", "this node was told not to be alive"))
}

/// All keys have all rights. The admin API takes them as the user name of basic authentication and not otherwise.
fn need_key(asked: &ApiAsked<'_>, claim: &Claim) -> Result<(), Refusal> {
    let secret = claim.secret.as_ref().ok_or_else(|| Refusal::unauthenticated("an admin API key is needed"))?;
    if claim.bearer {
        return Err(Refusal::unauthenticated("an admin API key goes as the user name of basic authentication"));
    }
    match asked.core.state().keys.holder(secret) {
        Some(_) => Ok(()),
        None => Err(Refusal::unauthenticated("invalid admin API key")),
    }
}

async fn admin(asked: &ApiAsked<'_>, method: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("POST", ["services", id, "generations", "actions", "importFromArchive"]) => import::answer(asked, id).await,
        (_, ["services", id, rest @ ..]) => of_service(asked, method, id, rest),
        ("GET", ["services"]) => services::list(asked),
        ("POST", ["services"]) => services::create(asked),
        ("GET", ["keys"]) => keys::list(asked),
        ("POST", ["keys"]) => keys::create(asked),
        ("DELETE", ["keys", secret]) => keys::delete(asked, secret),
        ("DELETE", ["keys", id, "key"]) => keys::delete_by_id(asked, id),
        ("GET", ["metrics"]) => caches::metrics(asked),
        ("POST", ["cached-code-envs"]) => caches::import_code_env(asked).await,
        ("POST", ["register-global-code-env"]) => caches::register_code_env(asked).await,
        ("DELETE", ["cached-code-envs"]) => caches::clean_code_envs(asked),
        ("POST", ["model-cache"]) => caches::import_model(asked).await,
        ("DELETE", ["model-cache"]) => caches::clear_models(asked),
        ("DELETE", ["services-clean-unused"]) => caches::clean_unused(asked),
        _ => asked.nothing(),
    }
}

fn of_service(asked: &ApiAsked<'_>, method: &str, id: &str, rest: &[&str]) -> Answer {
    match (method, rest) {
        ("DELETE", []) => services::delete(asked, id),
        ("GET", ["generations"]) => services::generations(asked, id),
        ("POST", ["generations", generation, "preload"]) => services::preload(asked, id, generation),
        ("POST", ["actions", "enable"]) => services::enable(asked, id, true),
        ("POST", ["actions", "disable"]) => services::enable(asked, id, false),
        ("POST", ["actions", "setMapping"]) => mapping::set(asked, id),
        ("POST", ["actions", "switchTo", generation]) => mapping::switch_to(asked, id, generation),
        ("POST", ["actions", "switchToNewest"]) => mapping::switch_to_newest(asked, id),
        _ => asked.nothing(),
    }
}
