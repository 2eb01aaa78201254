//! Published projects and their bundles.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deployer::{
    bundles::{self, Bundle, BundleKey},
    deployments::{self, Deployment},
    error::{Error, Result},
    infrastructures::{self, Infrastructure},
    paging::Page,
    projects::{self, Change, Permission, Project},
};
use serde_json::{Value, json};

use crate::{
    Context,
    call::Call,
    deployments::{Names, all, basic},
    documents::{Versions, expected_version, millis, nothing_else, version_tag},
    infras::{deployments_where, infra_basic, of_projects},
    read::{Document, object, over, renamed, wrong},
};

const FIELDS: &[(&str, &str)] = &[("key", "publishedProjectKey"), ("projectKey", "publishedProjectKey")];

/// What everybody who sees a published project learns of it.
pub(crate) fn project_basic(project: &Project) -> Value {
    json!({"id": project.key, "name": project.name})
}

/// A bundle in a list.
pub(crate) fn package(bundle: &Bundle) -> Value {
    json!({
        "id": bundle.key.bundle_id,
        "publishedOn": millis(bundle.uploaded_at),
        "publishedBy": bundle.uploaded_by,
        "designNodeInfo": bundle.design_node,
        "releaseNotes": bundle.release_notes,
    })
}

/// All bundles of a published project that the viewer may see, oldest first: scripts take the last one for the newest.
pub(crate) async fn packages(context: &Context<'_>, key: &str) -> Result<Vec<Value>> {
    let found = all(|page| async move {
        let found = bundles::list(context.deployer, context.viewer, key, &page).await?;
        Ok(found.unwrap_or_else(|| page.listing(Vec::new(), |_: &Bundle| String::new())))
    });
    Ok(found.await?.iter().rev().map(package).collect())
}

/// So many names stand in one query.
pub(crate) const AT_ONCE: usize = 500;

/// The same of many published projects, by key: a query for each [`AT_ONCE`] of them, and more only for those of more than a page of bundles.
pub(crate) async fn packages_of(context: &Context<'_>, keys: &[String]) -> Result<HashMap<String, Vec<Value>>> {
    let page = Page::new(Some(100), None)?;
    let mut found = HashMap::with_capacity(keys.len());
    for some in keys.chunks(AT_ONCE) {
        for (key, first) in bundles::of_projects(context.deployer, context.viewer, some, &page).await? {
            let shown = match first.has_next {
                true => packages(context, &key).await?,
                false => first.items.iter().rev().map(|(_, bundle)| package(bundle)).collect(),
            };
            found.insert(key, shown);
        }
    }
    Ok(found)
}

fn light(
    project: &Project,
    packages: Vec<Value>,
    deployments: &[&Deployment],
    infras: &BTreeMap<String, Infrastructure>,
    names: &Names,
) -> Value {
    let on: BTreeSet<&str> = deployments.iter().map(|one| one.infrastructure_id.as_str()).collect();
    json!({
        "projectBasicInfo": project_basic(project),
        "isAdmin": project.rights.admin,
        "canDeploy": project.rights.deploy,
        "canWrite": project.rights.write,
        "packages": packages,
        "deployments": deployments.iter().map(|one| basic(one, names)).collect::<Vec<_>>(),
        "infras": on.into_iter().filter_map(|id| infras.get(id)).map(infra_basic).collect::<Vec<_>>(),
    })
}

/// The infrastructures of these deployments.
async fn infras_of(context: &Context<'_>, deployments: &[Deployment]) -> Result<BTreeMap<String, Infrastructure>> {
    let ids: BTreeSet<String> = deployments.iter().map(|one| one.infrastructure_id.clone()).collect();
    infrastructures::by_ids(context.deployer, context.viewer, &ids.into_iter().collect::<Vec<_>>()).await
}

pub(crate) async fn list(context: &Context<'_>) -> Result<Value> {
    let projects =
        all(|page| async move { projects::list(context.deployer, context.viewer, None, &page).await }).await?;
    let deployments = deployments_where(context, of_projects()).await?;
    let (infras, names) = (infras_of(context, &deployments).await?, Names::of(context, &deployments).await?);
    let mut own: BTreeMap<&str, Vec<&Deployment>> = BTreeMap::new();
    for one in &deployments {
        own.entry(&one.project_key).or_default().push(one);
    }
    let keys: Vec<String> = projects.iter().map(|project| project.key.clone()).collect();
    let mut packages = packages_of(context, &keys).await?;
    let shown = projects.iter().map(|project| {
        let deployments = own.remove(project.key.as_str()).unwrap_or_default();
        light(project, packages.remove(&project.key).unwrap_or_default(), &deployments, &infras, &names)
    });
    Ok(shown.collect())
}

async fn get(context: &Context<'_>, key: &str) -> Result<Project> {
    let found = projects::get(context.deployer, context.viewer, key).await?;
    found.ok_or_else(|| Error::not_found("publishedProjectKey"))
}

pub(crate) async fn status(context: &Context<'_>, key: &str) -> Result<Value> {
    let project = get(context, key).await?;
    let filter = deployments::Filter { project: Some(key.to_owned()), ..Default::default() };
    let deployments = deployments_where(context, filter).await?;
    let (infras, names) = (infras_of(context, &deployments).await?, Names::of(context, &deployments).await?);
    Ok(light(&project, packages(context, key).await?, &deployments.iter().collect::<Vec<_>>(), &infras, &names))
}

pub(crate) async fn create(context: &Context<'_>, body: Value) -> Result<Value> {
    let mut document = Document::of(body)?;
    let key = document.required("publishedProjectKey")?;
    let made = projects::create(context.deployer, context.viewer, &key, None).await;
    let made = made.map_err(|error| renamed(error, FIELDS))?;
    Ok(json!({"publishedProjectKey": made.key, "projectBasicInfo": project_basic(&made)}))
}

pub(crate) async fn settings(context: &Context<'_>, key: &str) -> Result<Value> {
    let project = get(context, key).await?;
    let (Some(permissions), Some(other)) = (&project.permissions, &project.other) else {
        return Err(Error::forbidden("the right Admin on the published project"));
    };
    let known = json!({
        "id": project.key,
        "name": project.name,
        "owner": project.owner,
        "permissions": permissions.iter().map(permission).collect::<Vec<_>>(),
        "versionTag": version_tag(project.version, &project.updated_by, None),
    });
    let mut document = over(other.clone(), object(known, "settings")?);
    document.entry("basicImageInfo").or_insert(json!({}));
    Ok(Value::Object(document))
}

/// Rights on what is published, for a client.
pub(crate) fn permission(one: &Permission) -> Value {
    json!({"group": one.group, "read": one.read, "write": one.write, "deploy": one.deploy, "admin": one.admin})
}

pub(crate) async fn save(context: &Context<'_>, key: &str, call: &Call) -> Result<Value> {
    let project = get(context, key).await?;
    if project.permissions.is_none() {
        return Err(Error::forbidden("the right Admin on the published project"));
    }
    let mut document = Document::of(call.json()?)?;
    let now = Versions { newest: project.version, by: &project.updated_by, other: project.other_version };
    let expected_version = expected_version(call, &mut document, context.viewer, now)?;
    document.fixed("id", key)?;
    let permissions = document.list("permissions")?.map(permissions).transpose()?;
    let (name, owner) = (document.text("name")?, document.text("owner")?);
    deployer::kept::no_secrets(&document.left)?;
    let change = Change { expected_version, name, owner, permissions, other: Some(document.left) };
    let saved = projects::update(context.deployer, context.viewer, key, change).await;
    saved.map(|_| json!({})).map_err(|error| renamed(error, FIELDS))
}

/// The same, as a client writes them.
pub(crate) fn permissions(list: Vec<Value>) -> Result<Vec<Permission>> {
    let one = |(at, value): (usize, Value)| {
        let field = |name: &str| format!("permissions[{at}].{name}");
        let mut given = Document { left: object(value, &format!("permissions[{at}]"))? };
        let group = match given.any("group") {
            Some(Value::String(group)) => group,
            None => return Err(Error::field("FIELD_INVALID", field("group"), "This is missing.")),
            Some(_) => return Err(wrong(&field("group"), "a text")),
        };
        let mut flag = |name: &str| match given.any(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(wrong(&field(name), "true or false")),
        };
        let given_rights = Permission {
            group,
            read: flag("read")?,
            write: flag("write")?,
            deploy: flag("deploy")?,
            admin: flag("admin")?,
        };
        nothing_else(&given.left, &format!("permissions[{at}]"))?;
        Ok(given_rights)
    };
    list.into_iter().enumerate().map(one).collect()
}

pub(crate) async fn delete(context: &Context<'_>, key: &str) -> Result<Value> {
    let deleted = projects::delete_with_bundles(context.deployer, context.viewer, key).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, FIELDS))
}

pub(crate) async fn delete_bundle(context: &Context<'_>, key: &str, id: &str) -> Result<Value> {
    let bundle = BundleKey { project_key: key.to_owned(), bundle_id: id.to_owned() };
    let deleted = bundles::delete(context.deployer, context.viewer, &bundle).await;
    deleted.map(|()| json!({})).map_err(|error| renamed(error, &[("id", "bundleId"), FIELDS[1]]))
}

pub(crate) async fn standards_report(context: &Context<'_>, key: &str, id: &str) -> Result<Value> {
    let bundle = BundleKey { project_key: key.to_owned(), bundle_id: id.to_owned() };
    let mut found = bundles::manifests_of(context.deployer, context.viewer, std::slice::from_ref(&bundle)).await?;
    let manifest = found.remove(&bundle).ok_or_else(|| Error::not_found("bundleId"))?;
    Ok(manifest.get("projectStandardsReport").cloned().unwrap_or_default())
}
