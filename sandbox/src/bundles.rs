//! Imported bundles: creating a project from one, importing, listing, deleting.

use crate::auth::{Need, Who};
use crate::clock::now_ms;
use crate::reply::{Answer, Refusal, Reply};
use crate::report::Report;
use crate::request::{Asked, Object, text};
use crate::state::{Bundle, Project, ROOT, State};
use crate::upload::{self, Archive};
use poem::{Body, Request};
use serde_json::{Value, json};

/// Which of the bundle's permissions a new project gets.
#[derive(Clone, Copy)]
enum Propagation {
    None,
    ReadOnly,
    All,
}

/// `POST /projectsFromBundle/`: a new project under the bundle's own key, with the bundle imported, not activated.
pub(crate) async fn create_project(asked: &Asked<'_>, who: &Who, request: Request, body: &mut Option<Body>) -> Answer {
    let wanted = Wanted::of(asked)?;
    let archive = upload::receive(asked, request, upload_of(body)?).await?;
    wanted.create(&mut asked.core.state(), who, archive)
}

/// `POST /projectsFromBundle/fromArchive`: the same from the node's own disk.
pub(crate) async fn create_project_local(asked: &Asked<'_>, who: &Who) -> Answer {
    who.need_admin()?;
    let wanted = Wanted::of(asked)?;
    let archive = upload::open(asked).await?;
    wanted.create(&mut asked.core.state(), who, archive)
}

/// `POST .../imported/actions/importFromStream`: an archive of any project key, into this project.
pub(crate) async fn import(
    asked: &Asked<'_>,
    who: &Who,
    key: &str,
    request: Request,
    body: &mut Option<Body>,
) -> Answer {
    asked.core.state().project(who, key, Need::Write)?;
    let archive = upload::receive(asked, request, upload_of(body)?).await?;
    add(&mut asked.core.state(), who, key, archive)?;
    Ok(Reply::Empty)
}

/// `POST .../imported/actions/importFromArchive`: the same from the node's own disk.
pub(crate) async fn import_local(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    who.need_admin()?;
    asked.core.state().project(who, key, Need::Write)?;
    let archive = upload::open(asked).await?;
    let id = archive.manifest.bundle_id.clone();
    add(&mut asked.core.state(), who, key, archive)?;
    Ok(Reply::Json(json!({"bundleId": id})))
}

/// `GET .../bundles/imported`, the oldest first.
pub(crate) fn list(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let state = asked.core.state();
    let project = state.project(who, key, Need::Read)?;
    let bundles: Vec<Value> = project.bundles.iter().map(|bundle| item(project, bundle)).collect();
    Ok(Reply::Json(json!({"bundles": bundles})))
}

fn item(project: &Project, bundle: &Bundle) -> Value {
    let manifest = &bundle.manifest;
    json!({
        "bundleId": manifest.bundle_id, "projectKey": project.key,
        "originalProjectKey": manifest.project_key, "releaseNotes": manifest.release_notes,
        "importState": {"importedBy": bundle.imported_by, "importedOn": bundle.imported_on},
        "contentSummary": {"scenarios": manifest.scenarios.len(), "webApps": manifest.webapps.len()},
    })
}

/// `DELETE .../bundles/imported/B`; refused for the active one.
pub(crate) fn delete(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let mut state = asked.core.state();
    let project = state.project_mut(who, key, Need::Write)?;
    project.bundle(id)?;
    if project.active.as_ref().is_some_and(|active| active.id == id) {
        return Err(Refusal::bad(format!("bundle {id} is the active one of project {key}")));
    }
    project.bundles.retain(|bundle| bundle.manifest.bundle_id != id);
    Ok(Reply::Json(Report::default().value()))
}

fn upload_of(body: &mut Option<Body>) -> Result<Body, Refusal> {
    body.take().ok_or_else(|| Refusal::media("an upload as multipart/form-data is needed"))
}

fn add(state: &mut State, who: &Who, key: &str, archive: Archive) -> Result<(), Refusal> {
    let project = state.project_mut(who, key, Need::Write)?;
    let id = &archive.manifest.bundle_id;
    if project.bundle(id).is_ok() {
        return Err(Refusal::bad(format!("bundle {id} is already imported into project {key}")));
    }
    project.bundles.push(imported(who, archive));
    Ok(())
}

fn imported(who: &Who, archive: Archive) -> Bundle {
    let Archive { manifest, sha256, size } = archive;
    let imported_by = who.identity.clone();
    Bundle { manifest, sha256, size, imported_by, imported_on: now_ms(), preloaded: false }
}

/// How a project is to be created.
struct Wanted {
    propagation: Propagation,
    fail_on_missing: bool,
    folder: String,
}

impl Wanted {
    fn of(asked: &Asked<'_>) -> Result<Self, Refusal> {
        let propagation = match asked.query.get("permissionsPropagationPolicy") {
            None | Some("NONE") => Propagation::None,
            Some("READ_ONLY") => Propagation::ReadOnly,
            Some("ALL") => Propagation::All,
            Some(other) => return Err(Refusal::bad(format!("{other} is no permissionsPropagationPolicy"))),
        };
        let fail_on_missing = asked.query.flag("failOnMissingUsersOrGroups", true)?;
        let folder = asked.query.get("projectFolderId").unwrap_or(ROOT).to_owned();
        if !asked.core.state().folders.contains_key(&folder) {
            return Err(Refusal::missing(format!("there is no project folder {folder}")));
        }
        Ok(Self { propagation, fail_on_missing, folder })
    }

    fn create(&self, state: &mut State, who: &Who, archive: Archive) -> Answer {
        let manifest = &archive.manifest;
        let (key, id) = (manifest.project_key.clone(), manifest.bundle_id.clone());
        if state.projects.contains_key(&key) {
            return Err(Refusal::bad(format!("project {key} already exists on this node")));
        }
        let permissions = self.permissions(state, &manifest.permissions)?;
        let mut project = Project::new(&key, manifest.name(), &who.identity, &who.identity, &self.folder);
        project.access.insert("permissions".into(), Value::Array(permissions));
        project.bundles.push(imported(who, archive));
        state.projects.insert(key.clone(), project);
        Ok(Reply::Json(json!({"projectKey": key, "bundleId": id})))
    }

    fn permissions(&self, state: &State, designed: &[Object]) -> Result<Vec<Value>, Refusal> {
        let mut permissions = Vec::new();
        if matches!(self.propagation, Propagation::None) {
            return Ok(permissions);
        }
        for permission in designed {
            if let Some(absent) = state.absent_holder(permission) {
                if self.fail_on_missing {
                    return Err(Refusal::bad(format!("{absent}, who has rights in the bundle, is not on this node")));
                }
                continue;
            }
            permissions.push(match self.propagation {
                Propagation::All => Value::Object(permission.clone()),
                _ => read_only(permission),
            });
        }
        Ok(permissions)
    }
}

fn read_only(permission: &Object) -> Value {
    let mut reader = Object::new();
    for holder in ["user", "group"] {
        if let Some(name) = text(permission, holder) {
            reader.insert(holder.to_owned(), json!(name));
        }
    }
    reader.insert("readProjectContent".into(), json!(true));
    Value::Object(reader)
}
