//! Services and their generations.

use super::ApiAsked;
use super::state::{MOST, Service, no_service};
use crate::reply::{Answer, Refusal, Reply};
use crate::request::{check_id, text};
use serde_json::{Value, json};

/// `GET services`: an array.
pub(super) fn list(asked: &ApiAsked<'_>) -> Answer {
    let state = asked.core.state();
    let service = |(id, service): (&String, &Service)| json!({"serviceId": id, "enabled": service.enabled});
    Ok(Reply::Json(state.services.iter().map(service).collect()))
}

/// `POST services/` `{"serviceId"}`: made without a generation, disabled.
pub(super) fn create(asked: &ApiAsked<'_>) -> Answer {
    let id = text(asked.json.object()?, "serviceId").ok_or_else(|| Refusal::bad("serviceId is needed"))?;
    check_id("serviceId", id)?;
    let mut state = asked.core.state();
    if state.services.contains_key(id) {
        return Err(Refusal::bad(format!("there is a service {id} already")));
    }
    if state.services.len() >= MOST {
        return Err(Refusal::bad(format!("there are {MOST} services already")));
    }
    state.services.insert(id.to_owned(), Service::default());
    Ok(Reply::Json(json!({"ok": true})))
}

/// `DELETE services/S`: with its generations.
pub(super) fn delete(asked: &ApiAsked<'_>, id: &str) -> Answer {
    asked.core.state().services.remove(id).ok_or_else(|| no_service(id))?;
    Ok(Reply::Json(json!({"ok": true})))
}

/// `GET services/S/generations`. The names of an item's fields are this node's own choice: they are not public.
pub(super) fn generations(asked: &ApiAsked<'_>, id: &str) -> Answer {
    let state = asked.core.state();
    let service = state.service(id)?;
    let generations: Vec<Value> = service
        .generations
        .iter()
        .map(|known| {
            let name = &known.version.generation;
            let proba = service.mapping.iter().find(|share| share.generation == *name).map(|share| share.proba);
            json!({
                "generation": name, "importedOn": known.imported_on, "preloaded": known.preloaded,
                "active": service.enabled && proba.is_some(), "proba": proba.unwrap_or_default(),
            })
        })
        .collect();
    Ok(Reply::Json(json!({"serviceId": id, "generations": generations})))
}

/// `POST services/S/generations/G/preload`: its code envs are there afterwards, too.
pub(super) fn preload(asked: &ApiAsked<'_>, id: &str, generation: &str) -> Answer {
    let mut state = asked.core.state();
    let envs = state.service(id)?.generation(generation)?.version.code_envs.clone();
    state.service_mut(id)?.preload(generation);
    for env in envs {
        state.code_envs.entry(env).or_insert_with(|| "python".to_owned());
    }
    Ok(Reply::Empty)
}

impl Service {
    pub(super) fn preload(&mut self, generation: &str) {
        for known in self.generations.iter_mut().filter(|known| known.version.generation == generation) {
            known.preloaded = true;
        }
    }
}

/// `POST services/S/actions/enable`, `/disable`. A service without a mapping has nothing to answer with.
pub(super) fn enable(asked: &ApiAsked<'_>, id: &str, enabled: bool) -> Answer {
    let mut state = asked.core.state();
    let service = state.service_mut(id)?;
    if enabled && service.mapping.is_empty() {
        return Err(Refusal::bad(format!("service {id} has no active generation: switch to one first")));
    }
    service.enabled = enabled;
    Ok(Reply::Empty)
}
