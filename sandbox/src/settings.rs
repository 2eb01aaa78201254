//! What hangs on a project as whole objects: settings, variables, permissions. A PUT replaces the whole object: a key
//! that the client drops is gone.

use crate::auth::{Need, Who};
use crate::reply::{Answer, Refusal, Reply};
use crate::request::{Asked, Object, text};
use crate::state::State;
use serde_json::{Value, json};

/// `GET /projects/K/settings`.
pub(crate) fn get(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let state = asked.core.state();
    Ok(Reply::Json(Value::Object(state.project(who, key, Need::Read)?.settings.clone())))
}

/// `PUT /projects/K/settings`.
pub(crate) fn put(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let settings = asked.json.object()?;
    check_remapping(settings)?;
    asked.core.state().project_mut(who, key, Need::Write)?.settings = settings.clone();
    Ok(Reply::Empty)
}

/// The lists of a remapping hold a source and a target each, no source twice.
fn check_remapping(settings: &Object) -> Result<(), Refusal> {
    let Some(container) = settings.get("bundleContainerSettings") else { return Ok(()) };
    if !container.is_object() {
        return Err(Refusal::bad("bundleContainerSettings is no object"));
    }
    for list in ["connections", "codeEnvs", "containerExecs"] {
        let entries = match &container["remapping"][list] {
            Value::Null => continue,
            Value::Array(entries) => entries,
            _ => return Err(Refusal::bad(format!("remapping.{list} is no list"))),
        };
        let mut sources = std::collections::BTreeSet::new();
        for entry in entries {
            let (Some(source), Some(_)) = (entry["source"].as_str(), entry["target"].as_str()) else {
                return Err(Refusal::bad(format!("an entry of remapping.{list} lacks its source or target")));
            };
            if !sources.insert(source) {
                return Err(Refusal::bad(format!("remapping.{list} has {source} twice")));
            }
        }
    }
    Ok(())
}

/// `GET /projects/K/variables/`.
pub(crate) fn variables(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let state = asked.core.state();
    let project = state.project(who, key, Need::Read)?;
    Ok(Reply::Json(json!({"standard": project.standard, "local": project.local})))
}

/// `PUT /projects/K/variables/`: both halves.
pub(crate) fn put_variables(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let body = asked.json.object()?;
    let half = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(Object::new()),
        Some(Value::Object(variables)) => Ok(variables.clone()),
        Some(_) => Err(Refusal::bad(format!("{name} is no object"))),
    };
    let (standard, local) = (half("standard")?, half("local")?);
    let mut state = asked.core.state();
    let project = state.project_mut(who, key, Need::Write)?;
    project.standard = standard;
    project.local = local;
    Ok(Reply::Empty)
}

/// `GET /projects/K/permissions`.
pub(crate) fn permissions(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let state = asked.core.state();
    Ok(Reply::Json(Value::Object(state.project(who, key, Need::Read)?.access.clone())))
}

/// `PUT /projects/K/permissions`: owner and permissions. Nobody who is not on the node can be named.
pub(crate) fn put_permissions(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let body = asked.json.object()?;
    let mut state = asked.core.state();
    let project = state.project(who, key, Need::Admin)?;
    let owner = text(body, "owner").ok_or_else(|| Refusal::bad("owner is needed"))?;
    if owner != project.owner() {
        state.check_user(owner)?;
    }
    check_permissions(&state, body.get("permissions").unwrap_or(&Value::Null))?;
    state.project_mut(who, key, Need::Admin)?.access = body.clone();
    Ok(Reply::Empty)
}

/// A list of objects that name a user or a group of this node.
pub(crate) fn check_permissions(state: &State, permissions: &Value) -> Result<(), Refusal> {
    let list = permissions.as_array().ok_or_else(|| Refusal::bad("permissions is no list"))?;
    for permission in list {
        let permission = permission.as_object().ok_or_else(|| Refusal::bad("a permission is no object"))?;
        if text(permission, "user").is_some() == text(permission, "group").is_some() {
            return Err(Refusal::bad("a permission names one user or one group"));
        }
        if let Some(absent) = state.absent_holder(permission) {
            return Err(Refusal::bad(format!("{absent} is not on this node")));
        }
    }
    Ok(())
}
