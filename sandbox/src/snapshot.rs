//! The end state of a node. Times, version numbers and counts of retries are left out: two walks that end the same
//! compare equal.

use crate::node::Core;
use crate::request::Object;
use crate::scenarios::RUN_AS;
use crate::state::{Project, ROOT, State, run_as};
use serde_json::{Value, json};

pub(crate) fn of(core: &Core) -> Value {
    let state = core.state();
    let field = &core.config.webapp_run_as;
    let projects: Object = state.projects.values().map(|one| (one.key.clone(), project(&state, one, field))).collect();
    let connections: Object =
        state.connections.iter().map(|(name, connection)| (name.clone(), json!(connection.kind))).collect();
    json!({"projects": projects, "connections": connections, "codeEnvs": state.code_envs})
}

fn project(state: &State, project: &Project, webapp_run_as: &str) -> Value {
    let bundles: Vec<Value> = project
        .bundles
        .iter()
        .map(|bundle| {
            json!({
                "bundleId": bundle.manifest.bundle_id, "sha256": bundle.sha256, "size": bundle.size,
                "importedBy": bundle.imported_by, "preloaded": bundle.preloaded,
            })
        })
        .collect();
    let scenarios: Object = project
        .scenarios
        .iter()
        .map(|(id, scenario)| {
            let value = json!({
                "definition": steady(&scenario.definition), "active": scenario.definition.get("active"),
                "runAs": run_as(&scenario.definition, RUN_AS), "armedAs": scenario.armed_as,
                "local": scenario.local,
            });
            (id.clone(), value)
        })
        .collect();
    let webapps: Object = project
        .webapps
        .iter()
        .map(|(id, webapp)| {
            let backend = webapp.backend.as_ref();
            let value = json!({
                "definition": steady(&webapp.definition), "runAs": run_as(&webapp.definition, webapp_run_as),
                "local": webapp.local,
                "backend": backend.map(|backend| json!({"alive": backend.alive, "runAs": backend.run_as})),
            });
            (id.clone(), value)
        })
        .collect();
    json!({
        "name": project.name, "owner": project.owner(), "folder": path(state, &project.folder), "tags": project.tags,
        "description": project.description, "createdBy": project.created_by,
        "bundles": bundles,
        "activeBundle": project.active.as_ref().map(|active| &active.id),
        "activatedBy": project.active.as_ref().map(|active| &active.by),
        "settings": project.settings,
        "variables": {"standard": project.standard, "local": project.local},
        "permissions": project.access.get("permissions"),
        "scenarios": scenarios, "webapps": webapps,
    })
}

/// A definition without what changes at each edit: of its tags, only who edited is left.
fn steady(definition: &Object) -> Object {
    let mut definition = definition.clone();
    for tag in ["versionTag", "creationTag"] {
        if let Some(Value::Object(tag)) = definition.get_mut(tag) {
            tag.retain(|name, _| name == "lastModifiedBy");
        }
    }
    definition
}

/// A folder's place, such as `/finance/prod`; `/` is the root.
fn path(state: &State, id: &str) -> String {
    let mut names = Vec::new();
    let mut at = id;
    while at != ROOT
        && let Some(folder) = state.folders.get(at)
    {
        names.push(folder.name.clone().unwrap_or_default());
        at = folder.parent.as_deref().unwrap_or(ROOT);
    }
    names.reverse();
    format!("/{}", names.join("/"))
}
