//! Projects: list, read, create, delete.

use crate::auth::{Need, Who, may};
use crate::reply::{Answer, Refusal, Reply};
use crate::request::{Asked, check_id, text};
use crate::state::{Project, ROOT};
use serde_json::{Value, json};

/// The summary of a project. `activeBundleState` is absent when no bundle was ever activated.
fn summary(project: &Project) -> Value {
    let mut value = json!({
        "projectKey": project.key, "name": project.name, "ownerLogin": project.owner(),
        "projectType": "REGULAR", "projectStatus": "Automation", "tags": project.tags,
        "creationTag": {"versionNumber": 0, "lastModifiedBy": {"login": project.created_by}, "lastModifiedOn": project.created_on},
        "contributors": [],
    });
    if let Some(description) = &project.description {
        value["description"] = json!(description);
    }
    if let Some(active) = &project.active {
        value["activeBundleState"] = json!({"bundleId": active.id, "activatedBy": active.by, "activatedOn": active.on});
    }
    value
}

/// `GET /projects/`: those that the caller may read.
pub(crate) fn list(asked: &Asked<'_>, who: &Who) -> Answer {
    let state = asked.core.state();
    let visible = state.projects.values().filter(|project| may(who, project, Need::Read));
    Ok(Reply::Json(visible.map(summary).collect()))
}

/// `GET /projects/K`.
pub(crate) fn get(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    Ok(Reply::Json(summary(asked.core.state().project(who, key, Need::Read)?)))
}

/// `POST /projects/`: an empty project. Who is no administrator can only own it himself.
pub(crate) fn create(asked: &Asked<'_>, who: &Who) -> Answer {
    let body = asked.json.object()?;
    let needed = |name: &str| text(body, name).ok_or_else(|| Refusal::bad(format!("{name} is needed")));
    let (key, name, owner) = (needed("projectKey")?, needed("name")?, needed("owner")?);
    check_id("projectKey", key)?;
    let mut state = asked.core.state();
    if state.projects.contains_key(key) {
        return Err(Refusal::bad(format!("project {key} already exists on this node")));
    }
    if owner != who.identity {
        who.need_admin()?;
        state.check_user(owner)?;
    }
    let folder = asked.query.get("projectFolderId").unwrap_or(ROOT);
    if !state.folders.contains_key(folder) {
        return Err(Refusal::missing(format!("there is no project folder {folder}")));
    }
    let mut project = Project::new(key, name, owner, &who.identity, folder);
    project.description = text(body, "description").map(str::to_owned);
    if let Some(tags @ Value::Array(_)) = body.get("tags") {
        project.tags = tags.clone();
    }
    if let Some(settings @ Value::Object(_)) = body.get("settings") {
        project.settings.insert("settings".into(), settings.clone());
    }
    let permissions = body.get("permissions").cloned().unwrap_or(Value::Null);
    if !permissions.is_null() {
        crate::settings::check_permissions(&state, &permissions)?;
        project.access.insert("permissions".into(), permissions);
    }
    state.projects.insert(key.to_owned(), project);
    Ok(Reply::Json(json!({"msg": format!("Created project {key}")})))
}

/// `DELETE /projects/K`: done at once, answered as a future that has its result.
pub(crate) fn delete(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let mut state = asked.core.state();
    state.project(who, key, Need::Admin)?;
    state.projects.remove(key);
    let result = json!({"messages": {"messages": [], "anyMessage": false, "success": false, "warning": false, "error": false, "fatal": false}});
    Ok(Reply::Json(json!({"hasResult": true, "result": result})))
}
