//! One query: its generation is taken out of the mapping once, and answers it to the end.

use super::dispatch::Dispatch;
use super::model::{self, Verb};
use super::version::Version;
use super::{ApiAsked, entry};
use crate::auth::{Claim, KeyKind};
use crate::reply::{Answer, Refusal, Reply};
use serde_json::json;
use std::sync::Arc;

pub(super) fn answer(asked: &ApiAsked<'_>, claim: &Claim, service: &str, endpoint: &str, verb: &str) -> Answer {
    let dispatch = Dispatch::of(&asked.json, verb);
    let version = {
        let mut state = asked.core.state();
        let service = state.service_mut(service)?;
        service.pick(dispatch.as_ref().unwrap_or(&Dispatch::default()))?
    };
    if entry::check(&version.auth, claim)? {
        asked.core.desk.calls.note(asked.index, |call| call.key = KeyKind::Service);
    }
    let kind = *version.endpoints.get(endpoint).ok_or_else(|| {
        Refusal::missing(format!("there is no endpoint {endpoint} in generation {}", version.generation))
    })?;
    let verb = Verb::of(kind, asked.method.as_str(), verb).ok_or_else(|| {
        Refusal::missing(format!("an endpoint of type {} knows no {} {verb}", kind.name(), asked.method))
    })?;
    let answered = dispatch.and_then(|_| model::answer(kind, verb, asked, &version.generation));
    count(asked, &version, endpoint, answered.is_ok());
    let mut value = answered?;
    asked.core.events.record(&version, endpoint, verb, asked, &value);
    value["apiContext"] =
        json!({"serviceId": service, "endpointId": endpoint, "serviceGeneration": version.generation});
    Ok(Reply::Json(value))
}

fn count(asked: &ApiAsked<'_>, version: &Arc<Version>, endpoint: &str, answered: bool) {
    // The service may be gone by now.
    if let Some(service) = asked.core.state().services.get_mut(&version.service) {
        let count = service.counts.entry(endpoint.to_owned()).or_default();
        if answered {
            count.answered += 1;
        } else {
            count.refused += 1;
        }
    }
}
