//! Published API services: collections of versions that can be deployed, with rights of their own. What holds for published projects holds for them (`halves`);
//! here is what is their own.
//!
//! * [`list`], [`by_ids`], [`create`], [`update`], [`delete`]: services.
//! * [`versions`]: what can be deployed. [`upload`](versions::upload): taking one in.
//! * `frozen`: what an update deploys of one. `checks`: what the schemas can't say.
//! * [`QUERY_LOG`], [`AUTHORIZATION`]: the schemas of two settings that deployments on every platform have.

pub(crate) mod checks;
pub(crate) mod frozen;
pub mod open_api;
pub mod query;
mod query_logs;
pub mod versions;

pub use query_logs::QueryLogs;

use std::collections::{BTreeSet, HashMap};

use engine::db::Tx;
use entities::user_group;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use targets::target::Half;

use crate::{
    Deployer,
    audit::{Object, act::Act},
    error::{Error, Problems, Result},
    halves::{service_id, service_key},
    names,
    paging::{Listing, Page},
    projects::{self, Change, Project},
    rights::{self, Right},
    text,
    viewer::Viewer,
};

/// The JSON Schema of where queries are logged, on an infrastructure or a deployment.
pub const QUERY_LOG: &str = include_str!("services/query_log.json");
/// The JSON Schema of who may call a deployed service, in place of what its versions say.
pub const AUTHORIZATION: &str = include_str!("services/authorization.json");

/// A published service, as one viewer sees it: `key` is its id.
pub type Service = Project;

/// What names a published service where a published project's key stands: of a new deployment.
pub fn key_of(id: &str) -> String {
    service_key(id)
}

fn shown(service: Project) -> Service {
    let key = service_id(&service.key).unwrap_or(&service.key).to_owned();
    Service { key, ..service }
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, id: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::service(id))
}

/// Makes a published service that belongs to the viewer. Global administrators, and members of groups that may.
///
/// # Errors
/// `FORBIDDEN`; `ID_INVALID` and `TEXT_INVALID` by field; `ID_NOT_AVAILABLE` for a taken or reserved id.
pub async fn create(deployer: &Deployer, viewer: &Viewer, id: &str, name: Option<&str>) -> Result<Service> {
    let act = act(deployer, viewer, "createPublishedService", id);
    act.once(create_once(deployer, viewer, id, name, &act)).await
}

async fn create_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    name: Option<&str>,
    act: &Act<'_>,
) -> Result<Service> {
    if !may_publish(deployer, viewer).await? {
        return Err(Error::forbidden(
            "the right to publish API services, which a global administrator gives to a group",
        ));
    }
    let mut problems = Problems::default();
    names::check(id, "id", &mut problems);
    projects::insert_new(deployer, viewer, (&service_key(id), id), name, problems, act).await?;
    get(deployer, viewer, id).await?.ok_or_else(|| Error::not_found("id"))
}

/// Whether the viewer may publish services.
///
/// # Errors
/// The database's.
pub async fn may_publish(deployer: &Deployer, viewer: &Viewer) -> Result<bool> {
    if viewer.is_admin() {
        return Ok(true);
    }
    let groups = user_group::Entity::find()
        .filter(user_group::Column::Name.is_in(viewer.groups.iter().cloned()))
        .filter(user_group::Column::MayPublishServices.eq(true));
    Ok(groups.count(deployer.db.pool()).await? > 0)
}

/// The service; None if there is none that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn get(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Option<Service>> {
    Ok(by_ids(deployer, viewer, &[id.to_owned()]).await?.remove(id))
}

/// Those of these services that the viewer may see, by id.
///
/// # Errors
/// Faults only.
pub async fn by_ids(deployer: &Deployer, viewer: &Viewer, ids: &[String]) -> Result<HashMap<String, Service>> {
    let keys: Vec<_> = ids.iter().map(|id| service_key(id)).collect();
    let found = projects::by_keys_of(Half::Api, deployer, viewer, &keys).await?;
    Ok(found.into_values().map(shown).map(|service| (service.key.clone(), service)).collect())
}

/// The services that the viewer may see, by id. `search` is looked for in id and name, without regard to case.
///
/// # Errors
/// Faults only.
pub async fn list(deployer: &Deployer, viewer: &Viewer, search: Option<&str>, page: &Page) -> Result<Listing<Service>> {
    let within = Page { after: page.after.as_deref().map(service_key), ..page.clone() };
    let found = projects::list_of(Half::Api, deployer, viewer, search, &within).await?;
    Ok(found.map(shown).rekeyed(|service| service.key.clone()))
}

/// Changes name, owner or rights.
///
/// # Errors
/// As for a published project, by `id`.
pub async fn update(deployer: &Deployer, viewer: &Viewer, id: &str, change: Change) -> Result<Service> {
    let act = &act(deployer, viewer, "updatePublishedService", id);
    let key = service_key(id);
    let update = || projects::update_of(Half::Api, deployer, viewer, &key, change.clone(), act);
    Ok(shown(act.run(update).await?))
}

/// Removes a published service that has neither versions nor deployments.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Admin, `IN_USE`.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deletePublishedService", id);
    let key = service_key(id);
    act.run(|| projects::delete_of(Half::Api, deployer, viewer, &key, act)).await
}

/// Removes a published service with its versions.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Admin, `IN_USE` while a deployment uses it.
pub async fn delete_with_versions(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deletePublishedService", id);
    projects::delete_all_of(Half::Api, deployer, viewer, &service_key(id), act).await
}

/// The right of this viewer on a service, or a refusal that names the field.
pub(crate) async fn require(deployer: &Deployer, viewer: &Viewer, id: &str, right: Right, field: &str) -> Result<()> {
    if !text::storable(id) {
        return Err(Error::not_found(field));
    }
    let key = service_key(id);
    rights::require_published_project(deployer.db.pool(), viewer, &key, right, field).await.map(drop)
}

/// The groups must be there when we commit, in the order in which all transactions lock groups.
pub(crate) async fn hold_groups(tx: &Tx, groups: &BTreeSet<String>, field: &str) -> Result<()> {
    crate::accounts::changes::lock_administrators(tx, groups).await?;
    crate::accounts::changes::lock_groups(tx, groups, field).await
}
