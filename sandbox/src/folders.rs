//! Project folders.

use crate::auth::{Need, Who, may};
use crate::reply::{Answer, Refusal, Reply};
use crate::request::Asked;
use crate::state::{Folder, ROOT, State};
use serde_json::{Value, json};

/// A folder as the wire has it: the root has no name and no parent.
fn value(state: &State, who: &Who, id: &str) -> Result<Value, Refusal> {
    let folder = known(state, id)?;
    let children: Vec<&String> =
        state.folders.iter().filter(|(_, child)| child.parent.as_deref() == Some(id)).map(|(id, _)| id).collect();
    let inside = state.projects.values().filter(|project| project.folder == id && may(who, project, Need::Read));
    let keys: Vec<&String> = inside.map(|project| &project.key).collect();
    let mut value = json!({"id": id, "childrenIds": children, "projectKeys": keys});
    if let Some(name) = &folder.name {
        value["name"] = json!(name);
    }
    if let Some(parent) = &folder.parent {
        value["parentId"] = json!(parent);
    }
    Ok(value)
}

fn known<'a>(state: &'a State, id: &str) -> Result<&'a Folder, Refusal> {
    state.folders.get(id).ok_or_else(|| Refusal::missing(format!("there is no project folder {id}")))
}

/// `GET /project-folders/` (the root) and `GET /project-folders/{id}`.
pub(crate) fn get(asked: &Asked<'_>, who: &Who, id: &str) -> Answer {
    Ok(Reply::Json(value(&asked.core.state(), who, id)?))
}

/// `GET /project-folders/locate-project/K`: the folder that holds a project.
pub(crate) fn locate(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let state = asked.core.state();
    let folder = state.project(who, key, Need::Read)?.folder.clone();
    Ok(Reply::Json(value(&state, who, &folder)?))
}

/// `POST /project-folders/{id}/children?name=`.
pub(crate) fn create(asked: &Asked<'_>, parent: &str) -> Answer {
    let name = asked.query.get("name").ok_or_else(|| Refusal::bad("name is needed"))?.to_owned();
    let mut state = asked.core.state();
    known(&state, parent)?;
    let id = format!("folder-{}", state.number());
    let value = json!({"id": id, "name": name, "parentId": parent, "childrenIds": [], "projectKeys": []});
    state.folders.insert(id, Folder { name: Some(name), parent: Some(parent.to_owned()) });
    Ok(Reply::Json(value))
}

/// `DELETE /project-folders/{id}`: an empty one, not the root.
pub(crate) fn delete(asked: &Asked<'_>, id: &str) -> Answer {
    let mut state = asked.core.state();
    known(&state, id)?;
    let used = state.folders.values().any(|folder| folder.parent.as_deref() == Some(id))
        || state.projects.values().any(|project| project.folder == id);
    if used || id == ROOT {
        return Err(Refusal::bad(format!("project folder {id} is not empty, or is the root")));
    }
    state.folders.remove(id);
    Ok(Reply::Empty)
}

/// `POST /project-folders/{id}/projects/K/move?destination=`: out of that folder, into this one.
pub(crate) fn move_project(asked: &Asked<'_>, who: &Who, from: &str, key: &str) -> Answer {
    let destination = asked.query.get("destination").ok_or_else(|| Refusal::bad("destination is needed"))?;
    let mut state = asked.core.state();
    known(&state, destination)?;
    let project = state.project_mut(who, key, Need::Write)?;
    if project.folder != from {
        return Err(Refusal::bad(format!("project {key} is not in project folder {from}")));
    }
    project.folder = destination.to_owned();
    Ok(Reply::Empty)
}
