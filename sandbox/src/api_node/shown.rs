//! The end state of an API node. Times are left out, and so are secrets: two walks that end the same compare equal.

use super::ApiCore;
use super::state::{Generation, Service};
use super::version::Auth;
use crate::request::Object;
use serde_json::{Value, json};

pub(super) fn of(core: &ApiCore) -> Value {
    let mut events = core.events.all();
    for event in &mut events {
        if let Some(event) = event["clientEvent"].as_object_mut() {
            event.remove("timestamp");
        }
    }
    let state = core.state();
    let services: Object = state.services.iter().map(|(id, one)| (id.clone(), service(one))).collect();
    json!({
        "alive": state.alive, "services": services, "codeEnvs": state.code_envs, "models": state.models,
        "keys": state.keys.all().iter().map(|key| &key.id).collect::<Vec<_>>(), "events": events,
    })
}

fn service(service: &Service) -> Value {
    let mapping: Vec<Value> =
        service.mapping.iter().map(|share| json!({"generation": share.generation, "proba": share.proba})).collect();
    let generations: Vec<Value> = service.generations.iter().map(generation).collect();
    json!({"enabled": service.enabled, "mapping": mapping, "generations": generations})
}

fn generation(known: &Generation) -> Value {
    let version = &known.version;
    let endpoints: Object = version.endpoints.iter().map(|(id, kind)| (id.clone(), json!(kind.name()))).collect();
    let mut value = json!({
        "generation": version.generation, "sha256": known.sha256, "size": known.size, "preloaded": known.preloaded,
        "authMethod": version.auth.name(), "endpoints": endpoints, "codeEnvs": version.code_envs,
        "modelRuntime": version.model_runtime, "auditing": version.auditing.as_ref().map(|auditing| &auditing.shown),
    });
    match &version.auth {
        Auth::Public => {}
        Auth::Keys(keys) => value["apiKeys"] = json!(keys.len()),
        Auth::Tokens(keys) => value["oauth2"] = keys.shown(),
    }
    value
}
