//! Versions of published services: immutable, as bundles are. Nothing is stored unless the whole upload arrived, was read and is new.

use std::{collections::BTreeMap, error::Error as StdError};

use bytes::Bytes;
use engine::packages::{PackageKey, PackageStream};
use entities::bundle;
use futures_util::Stream;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use targets::{
    spec::{EndpointSpec, SecretRef},
    target::Half,
};

use crate::{
    Deployer,
    archive::{self, Limits, ServiceContents},
    audit::{Object, act::Act},
    bundles::{self, BundleKey, store_error},
    error::{Error, Problems, Result},
    halves::{service_id, service_key},
    paging::{Listing, Page},
    rights::{self, Right},
    sealed, text,
    viewer::Viewer,
};

/// The most endpoints of one service.
const MOST_ENDPOINTS: usize = 1_000;
/// The most keys that a version names for its callers.
const MOST_KEYS: usize = 100;

/// Under which it is kept whether a manifest says where queries are logged.
const LOGS_ITSELF: &str = "logsItself";

/// One immutable version of a published service.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// The published service.
    pub service_id: String,
    /// Unique within it.
    pub version: String,
    /// Of the archive, lower-case hex.
    pub sha256: String,
    /// Of the archive, in bytes.
    pub size: u64,
    /// As uploaded. A label, never a path.
    pub file_name: String,
    /// When, in µs since the Unix epoch.
    pub uploaded_at: i64,
    /// Who: a login.
    pub uploaded_by: String,
    /// What can be called.
    pub endpoints: Vec<EndpointSpec>,
    /// `PUBLIC`, `API_KEYS` or `OAUTH2`, if its manifest says.
    pub auth_method: Option<String>,
}

/// What a row says of a version's contents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Contents {
    pub(crate) endpoints: Vec<EndpointSpec>,
    pub(crate) auth_method: Option<String>,
    /// What its callers need.
    pub(crate) api_keys: Vec<SecretRef>,
}

fn of(row: bundle::Model) -> Result<Version> {
    let contents: Contents = serde_json::from_str(&row.contents)?;
    Ok(Version {
        service_id: service_id(&row.project_key).unwrap_or_default().to_owned(),
        version: row.bundle_id,
        sha256: row.sha256,
        size: row.size.unsigned_abs(),
        file_name: row.file_name,
        uploaded_at: row.uploaded_at,
        uploaded_by: row.uploaded_by,
        endpoints: contents.endpoints,
        auth_method: contents.auth_method,
    })
}

/// The versions of one service, newest first. None if the viewer may not see the service.
///
/// # Errors
/// `PAGE_INVALID` for a cursor of another list.
pub async fn list(
    deployer: &Deployer,
    viewer: &Viewer,
    service: &str,
    page: &Page,
) -> Result<Option<Listing<Version>>> {
    let (db, key) = (deployer.db.pool(), service_key(service));
    if !text::storable(service) || !rights::project_rights_on(db, viewer, &key).await?.read {
        return Ok(None);
    }
    let mut query = bundle::Entity::find().filter(bundle::Column::ProjectKey.eq(key));
    if let Some(cursor) = &page.after {
        query = query.filter(bundles::after(cursor)?);
    }
    let rows = query
        .order_by_desc(bundle::Column::UploadedAt)
        .order_by_asc(bundle::Column::BundleId)
        .limit(page.limit())
        .all(db)
        .await?;
    let versions = rows.into_iter().map(of).collect::<Result<_>>()?;
    Ok(Some(page.listing(versions, |one: &Version| format!("{} {}", one.uploaded_at, one.version))))
}

/// The newest versions of these services that the viewer may see, at most `most` of each. For lists of services.
///
/// # Errors
/// Faults only.
pub async fn newest_of(
    deployer: &Deployer,
    viewer: &Viewer,
    services: &[String],
    most: usize,
) -> Result<BTreeMap<String, Vec<Version>>> {
    let keys = services.iter().filter(|id| text::storable(id)).map(|id| service_key(id));
    let rows = bundle::Entity::find()
        .filter(bundle::Column::ProjectKey.is_in(keys))
        .filter(rights::projects_where(viewer, bundle::Column::ProjectKey, Right::Read))
        .order_by_desc(bundle::Column::UploadedAt)
        .order_by_asc(bundle::Column::BundleId)
        .all(deployer.db.pool())
        .await?;
    let mut found: BTreeMap<String, Vec<Version>> = BTreeMap::new();
    for version in rows.into_iter().map(of) {
        let version = version?;
        let mine = found.entry(version.service_id.clone()).or_default();
        if mine.len() < most {
            mine.push(version);
        }
    }
    Ok(found)
}

/// The version; None if there is none that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn get(deployer: &Deployer, viewer: &Viewer, service: &str, version: &str) -> Result<Option<Version>> {
    let (db, key) = (deployer.db.pool(), service_key(service));
    let storable = text::storable(service) && text::storable(version);
    if !storable || !rights::project_rights_on(db, viewer, &key).await?.read {
        return Ok(None);
    }
    bundle::Entity::find_by_id((key, version.to_owned())).one(db).await?.map(of).transpose()
}

/// A version's archive: what it is, and its bytes.
///
/// # Errors
/// `NOT_FOUND`; `PACKAGE_NOT_FOUND` if the store lost it.
pub async fn open(
    deployer: &Deployer,
    viewer: &Viewer,
    service: &str,
    version: &str,
) -> Result<(Version, PackageStream)> {
    let found = get(deployer, viewer, service, version).await?.ok_or_else(|| Error::not_found("version"))?;
    let package = PackageKey::of(&found.sha256).map_err(store_error)?;
    let (_, stream) = deployer.packages.open_package(&package).await.map_err(store_error)?;
    Ok((found, stream))
}

/// Removes a version. If a node has imported it, its id stays bound to its content.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Write, `IN_USE` while a deployment or an unfinished update uses it.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, service: &str, version: &str) -> Result<()> {
    let act = &Act::new(deployer, viewer, "deleteServiceVersion", Object::version(service, version));
    let key = BundleKey { project_key: service_key(service), bundle_id: version.to_owned() };
    act.run(|| bundles::delete_of(Half::Api, deployer, viewer, &key, act)).await
}

/// Takes a version in. `service` is the published service, which must be there; None takes the one that the archive names. `limit` is the most bytes.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Write on the published service; `PACKAGE_TOO_LARGE`, `UPLOAD_INTERRUPTED`; what [`archive::read_service`] refuses;
/// `SERVICE_ID_DIFFERS` for an archive of another service; `BUNDLE_EXISTS`, `BUNDLE_ID_BOUND`. Nothing is stored then.
pub async fn upload<S, E>(
    deployer: &Deployer,
    viewer: &Viewer,
    service: Option<&str>,
    file_name: &str,
    stream: S,
    limit: u64,
) -> Result<Version>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let act = Act::new(deployer, viewer, "uploadServiceVersion", Object::version(service.unwrap_or_default(), ""));
    act.once(take_in(deployer, viewer, service, file_name, stream, limit, &act)).await
}

async fn take_in<S, E>(
    deployer: &Deployer,
    viewer: &Viewer,
    service: Option<&str>,
    file_name: &str,
    stream: S,
    limit: u64,
    act: &Act<'_>,
) -> Result<Version>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    if let Some(service) = service {
        super::require(deployer, viewer, service, Right::Write, "serviceId").await?;
    }
    let mut problems = Problems::default();
    text::line(file_name, text::LINE, "fileName", &mut problems);
    problems.check()?;
    let staged = deployer.packages.stage(stream, limit).await.map_err(store_error)?;
    let read = archive::read_service(staged.path(), Limits::default()).await?;
    bounded(&read)?;
    let service = service.unwrap_or(&read.service_id);
    act.about(Object::version(service, &read.generation));
    super::require(deployer, viewer, service, Right::Write, "serviceId").await?;
    if service != read.service_id {
        let message = format!(
            "This is a version of the service {}. Upload it there: callers and nodes know a service by that id.",
            read.service_id
        );
        return Err(Error::field("SERVICE_ID_DIFFERS", "serviceId", message));
    }
    let key = BundleKey { project_key: service_key(service), bundle_id: read.generation.clone() };
    bundles::check_new(deployer.db.pool(), &key, staged.sha256()).await?;
    match publish(deployer, viewer, &key, file_name, &staged, &read, act).await {
        Ok(row) => {
            tracing::info!(service, version = key.bundle_id, by = viewer.login, "a service version was published");
            of(row)
        }
        Err(error) => {
            // What nobody refers to only takes room; a refusal must leave nothing, so it goes unless another package has it.
            if let Err(left) = bundles::drop_package(deployer, staged.sha256()).await {
                tracing::warn!(error = ?left, sha256 = staged.sha256(), "the package of a refused upload could not be removed");
            }
            Err(error)
        }
    }
}

/// Specs and receipts are made of these lists.
fn bounded(read: &ServiceContents) -> Result<()> {
    let mut problems = Problems::default();
    if read.manifest.endpoints.len() > MOST_ENDPOINTS {
        problems.add("TOO_MANY", "endpoints", format!("At most {MOST_ENDPOINTS} endpoints."));
    }
    if read.manifest.api_keys.len() > MOST_KEYS {
        problems.add("TOO_MANY", "apiKeys", format!("At most {MOST_KEYS} keys."));
    }
    problems.check()
}

async fn publish(
    deployer: &Deployer,
    viewer: &Viewer,
    key: &BundleKey,
    file_name: &str,
    staged: &engine::packages::Staged,
    read: &ServiceContents,
    act: &Act<'_>,
) -> Result<bundle::Model> {
    let package = deployer.packages.commit(staged).await.map_err(store_error)?;
    let tx = deployer.db.begin().await?;
    // Its removal by somebody who deletes the same content waits for us; if it came first, this puts the package back.
    bundles::hold_content(&tx, staged.sha256()).await?;
    deployer.packages.commit(staged).await.map_err(store_error)?;
    // Whoever else uploads into this service, or deletes it, waits here; the right may have gone while we waited.
    tx.lock("published_project", "key = $1", key.project_key.as_str()).await?;
    rights::require_published_project(&*tx, viewer, &key.project_key, Right::Write, "serviceId").await?;
    bundles::check_new(&*tx, key, staged.sha256()).await?;
    let owner = sealed::version_owner_of(&key.project_key, &key.bundle_id);
    let mut contents = Contents { auth_method: read.manifest.auth_method.clone(), ..Contents::default() };
    for endpoint in &read.manifest.endpoints {
        contents.endpoints.push(EndpointSpec { id: endpoint.id.clone(), kind: endpoint.kind.clone() });
    }
    for secret in &read.manifest.api_keys {
        let id = sealed::put(&tx, &deployer.keyring, &owner, secret).await?;
        contents.api_keys.push(SecretRef { id });
    }
    let row = bundle::ActiveModel {
        store_key: Set(package.as_str().to_owned()),
        file_name: Set(file_name.to_owned()),
        contents: Set(serde_json::to_string(&contents)?),
        manifest: Set(serde_json::to_string(&kept(&serde_json::to_value(&read.manifest)?))?),
        inferred: Set(false),
        release_notes: Set(String::new()),
        design_node: Set(None),
        ..Default::default()
    };
    let row = bundles::insert(&tx, viewer, key, staged, row).await?;
    act.commit(tx).await?;
    Ok(row)
}

/// What is kept of a manifest beside the archive: its endpoints and their test queries, and whether it logs queries. All else, secrets among it, is in the archive alone.
fn kept(manifest: &Value) -> Value {
    let endpoints = manifest.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let kept = endpoints.filter_map(Value::as_object).map(|endpoint| {
        let names = ["id", "type", "testQueries"].into_iter();
        let fields = names.filter_map(|name| Some((name.to_owned(), endpoint.get(name)?.clone())));
        Value::Object(fields.collect())
    });
    let logs = manifest.get("auditing").is_some_and(|auditing| !auditing.is_null());
    json!({"endpoints": kept.collect::<Vec<_>>(), LOGS_ITSELF: logs})
}

/// Whether the version says itself where its queries are logged; of one that came in before that was noted, nobody knows.
pub(crate) fn may_log_itself(row: &bundle::Model) -> Result<bool> {
    let manifest: Value = serde_json::from_str(&row.manifest)?;
    Ok(manifest.get(LOGS_ITSELF).and_then(Value::as_bool).unwrap_or(true))
}

/// The row of a version, for what acts in the deployer's own name.
pub(crate) async fn row<C: ConnectionTrait>(
    db: &C,
    key: &str,
    version: &str,
) -> Result<Option<(bundle::Model, Contents)>> {
    let Some(row) = bundle::Entity::find_by_id((key.to_owned(), version.to_owned())).one(db).await? else {
        return Ok(None);
    };
    let contents = serde_json::from_str(&row.contents)?;
    Ok(Some((row, contents)))
}
