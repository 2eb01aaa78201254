//! Published services and their versions.

use std::collections::{BTreeMap, BTreeSet};

use deployer::{
    deployments::{self, Deployment},
    error::{Error, Result},
    infrastructures::{self, Infrastructure},
    projects::Change,
    services::{
        self, Service,
        versions::{self, Version},
    },
};
use serde_json::{Value, json};

use super::{
    deployments::basic,
    infras::{infra_basic, of_services},
};
use crate::{
    Context,
    call::Call,
    deployments::{Names, all},
    documents::{Versions, expected_version, millis, version_tag},
    infras::deployments_where,
    projects::{AT_ONCE, permission, permissions},
    read::{Document, object, over, renamed},
};

/// Our names, and a client's.
const FIELDS: &[(&str, &str)] = &[("id", "publishedServiceId"), ("serviceId", "publishedServiceId")];
/// So many versions of one service stand in a list.
const MOST_VERSIONS: usize = 1_000;

/// What everybody who sees a published service learns of it.
pub(super) fn service_basic(service: &Service) -> Value {
    json!({"id": service.key, "name": service.name})
}

fn package(version: &Version) -> Value {
    json!({
        "id": version.version,
        "publishedOn": millis(version.uploaded_at),
        "publishedBy": version.uploaded_by,
        "designNodeInfo": {},
        "endpoints": version.endpoints,
        "authMethod": version.auth_method,
    })
}

/// The versions of these services, oldest first: scripts take the last one for the newest.
pub(super) async fn packages_of(context: &Context<'_>, ids: &[String]) -> Result<BTreeMap<String, Vec<Value>>> {
    let mut found = BTreeMap::new();
    for some in ids.chunks(AT_ONCE) {
        let newest = versions::newest_of(context.deployer, context.viewer, some, MOST_VERSIONS).await?;
        found.extend(newest.into_iter().map(|(id, versions)| (id, versions.iter().rev().map(package).collect())));
    }
    Ok(found)
}

fn light(
    service: &Service,
    packages: &[Value],
    deployments: &[&Deployment],
    infras: &BTreeMap<String, Infrastructure>,
    names: &Names,
) -> Value {
    let on: BTreeSet<&str> = deployments.iter().map(|one| one.infrastructure_id.as_str()).collect();
    json!({
        "serviceBasicInfo": service_basic(service),
        "isAdmin": service.rights.admin,
        "canDeploy": service.rights.deploy,
        "canWrite": service.rights.write,
        "packages": packages,
        "deployments": deployments.iter().map(|one| basic(one, names)).collect::<Vec<_>>(),
        "infras": on.into_iter().filter_map(|id| infras.get(id)).map(infra_basic).collect::<Vec<_>>(),
    })
}

async fn lights(context: &Context<'_>, services: &[Service], deployments: &[Deployment]) -> Result<Vec<Value>> {
    let infras: BTreeSet<String> = deployments.iter().map(|one| one.infrastructure_id.clone()).collect();
    let infras: Vec<_> = infras.into_iter().collect();
    let infras = infrastructures::by_ids(context.deployer, context.viewer, &infras).await?;
    let names = Names::of(context, deployments).await?;
    let ids: Vec<String> = services.iter().map(|service| service.key.clone()).collect();
    let packages = packages_of(context, &ids).await?;
    let none = Vec::new();
    let one = |service: &Service| {
        let own: Vec<_> = deployments.iter().filter(|one| one.project_key == service.key).collect();
        light(service, packages.get(&service.key).unwrap_or(&none), &own, &infras, &names)
    };
    Ok(services.iter().map(one).collect())
}

pub(super) async fn list(context: &Context<'_>) -> Result<Value> {
    let services =
        all(|page| async move { services::list(context.deployer, context.viewer, None, &page).await }).await?;
    let deployments = deployments_where(context, of_services()).await?;
    lights(context, &services, &deployments).await.map(Value::Array)
}

async fn get(context: &Context<'_>, id: &str) -> Result<Service> {
    let found = services::get(context.deployer, context.viewer, id).await?;
    found.ok_or_else(|| Error::not_found("publishedServiceId"))
}

pub(super) async fn status(context: &Context<'_>, id: &str) -> Result<Value> {
    let service = get(context, id).await?;
    let filter = deployments::Filter { service: Some(id.to_owned()), ..of_services() };
    let deployments = deployments_where(context, filter).await?;
    let shown = lights(context, &[service], &deployments).await?.pop();
    shown.ok_or_else(|| Error::not_found("publishedServiceId"))
}

pub(super) async fn create(context: &Context<'_>, body: Value) -> Result<Value> {
    let mut document = Document::of(body)?;
    let id = document.required("publishedServiceId")?;
    let made = services::create(context.deployer, context.viewer, &id, None).await;
    let made = made.map_err(|error| renamed(error, FIELDS))?;
    Ok(json!({"publishedServiceId": made.key, "serviceBasicInfo": service_basic(&made)}))
}

pub(super) async fn settings(context: &Context<'_>, id: &str) -> Result<Value> {
    let service = get(context, id).await?;
    let (Some(permissions), Some(other)) = (&service.permissions, &service.other) else {
        return Err(Error::forbidden("the right Admin on the published service"));
    };
    let known = json!({
        "id": service.key,
        "name": service.name,
        "owner": service.owner,
        "permissions": permissions.iter().map(permission).collect::<Vec<_>>(),
        "versionTag": version_tag(service.version, &service.updated_by, None),
    });
    Ok(Value::Object(over(other.clone(), object(known, "settings")?)))
}

pub(super) async fn save(context: &Context<'_>, id: &str, call: &Call) -> Result<Value> {
    let service = get(context, id).await?;
    if service.permissions.is_none() {
        return Err(Error::forbidden("the right Admin on the published service"));
    }
    let mut document = Document::of(call.json()?)?;
    let now = Versions { newest: service.version, by: &service.updated_by, other: service.other_version };
    let expected_version = expected_version(call, &mut document, context.viewer, now)?;
    document.fixed("id", id)?;
    let permissions = document.list("permissions")?.map(permissions).transpose()?;
    let (name, owner) = (document.text("name")?, document.text("owner")?);
    deployer::kept::no_secrets(&document.left)?;
    let change = Change { expected_version, name, owner, permissions, other: Some(document.left) };
    let saved = services::update(context.deployer, context.viewer, id, change).await;
    saved.map(|_| json!({})).map_err(|error| renamed(error, FIELDS))
}

pub(super) async fn delete(context: &Context<'_>, id: &str) -> Result<Value> {
    let deleted = services::delete_with_versions(context.deployer, context.viewer, id).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, FIELDS))
}

pub(super) async fn delete_version(context: &Context<'_>, id: &str, version: &str) -> Result<Value> {
    let deleted = versions::delete(context.deployer, context.viewer, id, version).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, FIELDS))
}
