//! Metrics, the caches of code envs and models, and cleaning up. What the answers hold is this node's own choice where
//! it is not public.

use super::state::{Count, MOST, Service, State};
use super::{ApiAsked, LARGEST};
use crate::reply::{Answer, Refusal, Reply};
use crate::request::Object;
use crate::upload::{blocking, local};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `GET metrics`: how many queries each endpoint answered and refused.
pub(super) fn metrics(asked: &ApiAsked<'_>) -> Answer {
    let count =
        |(id, count): (&String, &Count)| (id.clone(), json!({"answered": count.answered, "refused": count.refused}));
    let service = |(id, service): (&String, &Service)| {
        let endpoints: Object = service.counts.iter().map(count).collect();
        (id.clone(), json!({"endpoints": endpoints}))
    };
    let state = asked.core.state();
    let services: Object = state.services.iter().map(service).collect();
    Ok(Reply::Json(json!({"nodeId": asked.core.node_id, "services": services})))
}

/// `POST cached-code-envs?fileDir=&language=`: a folder with an exported code env, named after the folder.
pub(super) async fn import_code_env(asked: &ApiAsked<'_>) -> Answer {
    let folder = folder(asked, "fileDir").await?;
    keep_code_env(asked, &folder)
}

/// `POST register-global-code-env?exportedEnvDir=&builtEnvDir=&language=`.
pub(super) async fn register_code_env(asked: &ApiAsked<'_>) -> Answer {
    folder(asked, "builtEnvDir").await?;
    let folder = folder(asked, "exportedEnvDir").await?;
    keep_code_env(asked, &folder)
}

async fn folder(asked: &ApiAsked<'_>, parameter: &'static str) -> Result<PathBuf, Refusal> {
    let path = asked.query.get(parameter).ok_or_else(|| Refusal::bad(format!("{parameter} is needed")))?.to_owned();
    let core = Arc::clone(asked.core);
    blocking(move || {
        let path = core.inside(Path::new(&path), parameter)?;
        if path.is_dir() { Ok(path) } else { Err(Refusal::bad(format!("{parameter} is no folder"))) }
    })
    .await
}

fn keep_code_env(asked: &ApiAsked<'_>, folder: &Path) -> Answer {
    let language = asked.query.get("language").ok_or_else(|| Refusal::bad("language is needed"))?;
    if !["python", "r"].iter().any(|known| language.eq_ignore_ascii_case(known)) {
        return Err(Refusal::bad("language is neither python nor R"));
    }
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut state = asked.core.state();
    if state.code_envs.len() >= MOST {
        return Err(Refusal::bad(format!("there are {MOST} code envs already")));
    }
    state.code_envs.insert(name.clone(), language.to_ascii_lowercase());
    Ok(Reply::Json(json!({"ok": true, "codeEnv": name})))
}

/// `DELETE cached-code-envs`: those that no generation uses.
pub(super) fn clean_code_envs(asked: &ApiAsked<'_>) -> Answer {
    Ok(Reply::Json(json!({"deletedCodeEnvs": unused_code_envs(&mut asked.core.state())})))
}

fn unused_code_envs(state: &mut State) -> Vec<String> {
    let generations = state.services.values().flat_map(|service| &service.generations);
    let used: BTreeSet<&String> = generations.flat_map(|known| &known.version.code_envs).collect();
    let gone: Vec<String> = state.code_envs.keys().filter(|name| !used.contains(name)).cloned().collect();
    for name in &gone {
        state.code_envs.remove(name);
    }
    gone
}

/// `POST model-cache?modelArchivePath=`.
pub(super) async fn import_model(asked: &ApiAsked<'_>) -> Answer {
    const PARAMETER: &str = "modelArchivePath";
    let path = asked.query.get(PARAMETER).ok_or_else(|| Refusal::bad(format!("{PARAMETER} is needed")))?.to_owned();
    let core = Arc::clone(asked.core);
    let (_, _, sha256) =
        blocking(move || local(&core.inside(Path::new(&path), PARAMETER)?, PARAMETER, LARGEST)).await?;
    let mut state = asked.core.state();
    if state.models.len() >= MOST {
        return Err(Refusal::bad(format!("there are {MOST} models already")));
    }
    state.models.insert(sha256.clone());
    Ok(Reply::Json(json!({"ok": true, "sha256": sha256})))
}

/// `DELETE model-cache`.
pub(super) fn clear_models(asked: &ApiAsked<'_>) -> Answer {
    asked.core.state().models.clear();
    Ok(Reply::Empty)
}

/// `DELETE services-clean-unused`: disabled services, generations that are not mapped, code envs that nothing uses then.
pub(super) fn clean_unused(asked: &ApiAsked<'_>) -> Answer {
    let (mut services, mut generations): (Vec<String>, Vec<Value>) = Default::default();
    let mut state = asked.core.state();
    state.services.retain(|id, service| {
        if !service.enabled {
            services.push(id.clone());
        }
        service.enabled
    });
    for (id, service) in &mut state.services {
        let mapping = &service.mapping;
        service.generations.retain(|known| {
            let name = &known.version.generation;
            let used = mapping.iter().any(|share| share.generation == *name);
            if !used {
                generations.push(json!({"serviceId": id, "generation": name}));
            }
            used
        });
    }
    let envs = unused_code_envs(&mut state);
    Ok(Reply::Json(json!({
        "deletedServices": services, "deletedGenerations": generations, "deletedCodeEnvs": envs,
    })))
}
