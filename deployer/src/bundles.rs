//! Bundles: immutable versions of published projects. Nothing is stored unless the whole upload arrived, was read and is new.

mod documents;
mod of_projects;
mod upload;

use std::collections::{BTreeMap, HashMap};

use engine::{
    db::{Tx, sql_with},
    packages::{PackageError, PackageKey, PackageStream},
    runs,
};
use entities::{bundle, deployment, run};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbBackend, EntityTrait as _, FromQueryResult, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Select,
    sea_query::{Expr, ExprTrait as _, Func},
};
use serde_json::{Map, Value};
use targets::{spec::DeploySpec, target::Half};

pub(crate) use self::upload::{check_new, insert};
pub use self::{
    documents::{MOST, contents_of, manifests_of},
    of_projects::of_projects,
    upload::{Upload, upload},
};
use crate::{
    Deployer,
    audit::{Object, act::Act},
    deployments::Settings,
    error::{Error, Result},
    halves,
    live::Standing,
    paging::{Listing, Page},
    rights::{self, Right},
    sealed,
    viewer::Viewer,
};

/// A bundle: which project, which id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleKey {
    /// The published project.
    pub project_key: String,
    /// Unique within it.
    pub bundle_id: String,
}

/// One immutable version of a published project, without what it says of itself: that can be megabytes ([`contents_of`], [`manifests_of`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Which.
    pub key: BundleKey,
    /// Of the archive, lower-case hex.
    pub sha256: String,
    /// Of the archive, in bytes.
    pub size: u64,
    /// As uploaded. A label, never a path.
    pub file_name: String,
    /// Read by inference: connections may be missing from the contents.
    pub inferred: bool,
    /// From the manifest: its first [`NOTES`] characters.
    pub release_notes: String,
    /// When, in µs since the Unix epoch.
    pub uploaded_at: i64,
    /// Who: a login.
    pub uploaded_by: String,
    /// Where it was made: `projectKey`, and what else its manifest says, such as `nodeId` and `url`.
    pub design_node: Map<String, Value>,
}

/// What a row says of the design node.
fn design_node(text: Option<String>) -> Map<String, Value> {
    // Written by us; of a later version, perhaps.
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The most characters of release notes that are shown.
pub const NOTES: i32 = 10_000;

impl Bundle {
    pub(crate) fn of(row: bundle::Model) -> Self {
        let most = usize::try_from(NOTES).unwrap_or(usize::MAX);
        Self {
            key: BundleKey { project_key: row.project_key, bundle_id: row.bundle_id },
            sha256: row.sha256,
            size: row.size.unsigned_abs(),
            file_name: row.file_name,
            inferred: row.inferred,
            release_notes: row.release_notes.chars().take(most).collect(),
            uploaded_at: row.uploaded_at,
            uploaded_by: row.uploaded_by,
            design_node: design_node(row.design_node),
        }
    }
}

/// The narrow part of a bundle's row.
#[derive(FromQueryResult)]
struct Row {
    project_key: String,
    bundle_id: String,
    sha256: String,
    size: i64,
    file_name: String,
    inferred: bool,
    release_notes: String,
    uploaded_at: i64,
    uploaded_by: String,
    design_node: Option<String>,
}

/// The same query, for [`Row`] alone.
fn narrow(query: Select<bundle::Entity>) -> Select<bundle::Entity> {
    use bundle::Column as C;
    let notes = Func::cust("SUBSTR").args([Expr::col(C::ReleaseNotes), Expr::val(1), Expr::val(NOTES)]);
    query
        .select_only()
        .columns([
            C::ProjectKey,
            C::BundleId,
            C::Sha256,
            C::Size,
            C::FileName,
            C::Inferred,
            C::UploadedAt,
            C::UploadedBy,
            C::DesignNode,
        ])
        .expr_as(notes, "release_notes")
}

impl From<Row> for Bundle {
    fn from(row: Row) -> Self {
        Self {
            key: BundleKey { project_key: row.project_key, bundle_id: row.bundle_id },
            sha256: row.sha256,
            size: row.size.unsigned_abs(),
            file_name: row.file_name,
            inferred: row.inferred,
            release_notes: row.release_notes,
            uploaded_at: row.uploaded_at,
            uploaded_by: row.uploaded_by,
            design_node: design_node(row.design_node),
        }
    }
}

/// The argument that names a package.
pub(crate) fn field(half: Half) -> &'static str {
    match half {
        Half::Project => "bundleId",
        Half::Api => "version",
    }
}

/// A condition on bundles: one of these. None for none.
fn among(keys: &[BundleKey]) -> Option<Condition> {
    let mut by_project: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for key in keys.iter().filter(|key| !key.project_key.contains('\0') && !key.bundle_id.contains('\0')) {
        by_project.entry(&key.project_key).or_default().push(key.bundle_id.clone());
    }
    if by_project.is_empty() {
        return None;
    }
    let one = |(project, ids)| {
        bundle::Column::ProjectKey.eq(project).and(bundle::Column::BundleId.is_in::<String, Vec<String>>(ids))
    };
    Some(by_project.into_iter().map(one).fold(Condition::any(), Condition::add))
}

/// What comes after a cursor.
pub(crate) fn after(cursor: &str) -> Result<Condition> {
    let read = cursor.split_once(' ').and_then(|(at, id)| Some((at.parse::<i64>().ok()?, id)));
    let (at, id) = read.ok_or_else(|| Error::field("PAGE_INVALID", "after", "This cursor is not one of this list."))?;
    Ok(Condition::any()
        .add(bundle::Column::UploadedAt.lt(at))
        .add(bundle::Column::UploadedAt.eq(at).and(bundle::Column::BundleId.gt(id))))
}

/// Where a list goes on after this one.
fn cursor(bundle: &Bundle) -> String {
    format!("{} {}", bundle.uploaded_at, bundle.key.bundle_id)
}

/// The bundle; None if there is none that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn get(deployer: &Deployer, viewer: &Viewer, key: &BundleKey) -> Result<Option<Bundle>> {
    Ok(by_ids(deployer, viewer, std::slice::from_ref(key)).await?.remove(key))
}

/// Those of these bundles that the viewer may see: one query, however many.
///
/// # Errors
/// Faults only.
pub async fn by_ids(deployer: &Deployer, viewer: &Viewer, keys: &[BundleKey]) -> Result<HashMap<BundleKey, Bundle>> {
    let Some(wanted) = among(keys) else { return Ok(HashMap::new()) };
    let query = bundle::Entity::find()
        .filter(wanted)
        .filter(rights::projects_where(viewer, bundle::Column::ProjectKey, Right::Read))
        .filter(halves::of_half(bundle::Column::ProjectKey, Half::Project));
    let rows = narrow(query).into_model::<Row>().all(deployer.db.pool()).await?;
    Ok(rows.into_iter().map(Bundle::from).map(|bundle| (bundle.key.clone(), bundle)).collect())
}

/// The bundles of one project, newest first. None if the viewer may not see the project.
///
/// # Errors
/// `PAGE_INVALID` for a cursor of another list.
pub async fn list(
    deployer: &Deployer,
    viewer: &Viewer,
    project_key: &str,
    page: &Page,
) -> Result<Option<Listing<Bundle>>> {
    if project_key.contains(['\0', '/'])
        || !rights::project_rights_on(deployer.db.pool(), viewer, project_key).await?.read
    {
        return Ok(None);
    }
    let mut query = bundle::Entity::find().filter(bundle::Column::ProjectKey.eq(project_key));
    if let Some(cursor) = &page.after {
        query = query.filter(after(cursor)?);
    }
    let rows = narrow(query)
        .order_by_desc(bundle::Column::UploadedAt)
        .order_by_asc(bundle::Column::BundleId)
        .limit(page.limit())
        .into_model::<Row>()
        .all(deployer.db.pool())
        .await?;
    Ok(Some(page.listing(rows.into_iter().map(Bundle::from).collect(), cursor)))
}

/// A bundle's archive: what it is, and its bytes. The stream ends with an error if the store gives back something else than what was uploaded.
///
/// # Errors
/// `NOT_FOUND`; `PACKAGE_NOT_FOUND` if the store lost it.
pub async fn open(deployer: &Deployer, viewer: &Viewer, key: &BundleKey) -> Result<(Bundle, PackageStream)> {
    let found = get(deployer, viewer, key).await?.ok_or_else(|| Error::not_found("bundleId"))?;
    let package = PackageKey::of(&found.sha256).map_err(store_error)?;
    let (_, stream) = deployer.packages.open_package(&package).await.map_err(store_error)?;
    Ok((found, stream))
}

/// Removes a bundle. If a node has imported it, its id stays bound to its content.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Write, `IN_USE` while a deployment or an unfinished update uses it.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, key: &BundleKey) -> Result<()> {
    let act = &Act::new(deployer, viewer, "deleteBundle", Object::bundle(&key.project_key, &key.bundle_id));
    act.run(|| delete_of(Half::Project, deployer, viewer, key, act)).await
}

/// The same of either half.
pub(crate) async fn delete_of(
    half: Half,
    deployer: &Deployer,
    viewer: &Viewer,
    key: &BundleKey,
    act: &Act<'_>,
) -> Result<()> {
    let (parent, own) = match half {
        Half::Project => ("projectKey", "id"),
        Half::Api => ("serviceId", "version"),
    };
    halves::require(half, &key.project_key, parent)?;
    rights::require_published_project(deployer.db.pool(), viewer, &key.project_key, Right::Write, parent).await?;
    let tx = deployer.db.begin().await?;
    let Some(row) = lock(&tx, key, Hold::Change).await? else {
        return Err(Error::not_found(own));
    };
    act.before(&tx).await?;
    // The right may have gone while we waited.
    rights::require_published_project(&*tx, viewer, &key.project_key, Right::Write, parent).await?;
    if deployment_uses(&tx, half, key).await? || unfinished_run_uses(&tx, key).await? {
        let package = halves::package(half);
        let message = format!(
            "A deployment is set to this {package} or live with it, or an update that has not ended uses it. Deploy another one first, or wait."
        );
        return Err(Error::field("IN_USE", own, message));
    }
    if half == Half::Api {
        sealed::forget_owner(&tx, &sealed::version_owner_of(&key.project_key, &key.bundle_id)).await?;
    }
    bundle::Entity::delete_by_id((key.project_key.clone(), key.bundle_id.clone())).exec(&*tx).await?;
    act.commit(tx).await?;
    if let Err(error) = drop_package(deployer, &row.sha256).await {
        // The bundle is gone; its bytes only take room.
        tracing::warn!(error = ?error, sha256 = row.sha256, "the package of a deleted bundle could not be removed");
    }
    Ok(())
}

/// Removes the bytes that no bundle has any more.
pub(crate) async fn drop_package(deployer: &Deployer, sha256: &str) -> Result<()> {
    let package = PackageKey::of(sha256).map_err(store_error)?;
    let tx = deployer.db.begin().await?;
    hold_content(&tx, sha256).await?;
    let others = bundle::Entity::find().filter(bundle::Column::Sha256.eq(sha256)).count(&*tx).await?;
    if others == 0 {
        deployer.packages.delete(&package).await.map_err(store_error)?;
    }
    Ok(tx.commit().await?)
}

/// How a bundle's row is held until the transaction's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It must still be there when we commit.
    Keep,
    /// We remove it.
    Change,
}

/// Locks and reads a bundle's row.
pub(crate) async fn lock(tx: &Tx, key: &BundleKey, hold: Hold) -> Result<Option<bundle::Model>> {
    if among(std::slice::from_ref(key)).is_none() {
        return Ok(None);
    }
    let mut query = bundle::Entity::find_by_id((key.project_key.clone(), key.bundle_id.clone()));
    // SQLite: the transaction holds the file.
    if tx.get_database_backend() == DbBackend::Postgres {
        query = match hold {
            Hold::Keep => query.lock_shared(),
            Hold::Change => query.lock_exclusive(),
        };
    }
    Ok(query.one(&**tx).await?)
}

/// Makes those who store and those who remove this content take turns: a package must not go while an upload of the same bytes relies on it. The store is asked meanwhile, and
/// a bucket may take as long as the package store lets it (30 s): longer than PostgreSQL lets others stand still.
pub(crate) async fn hold_content(tx: &Tx, sha256: &str) -> Result<()> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = '60s'").await?;
        let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        tx.query_one_raw(sql_with(&**tx, sql, [sha256.into()])).await?;
    }
    Ok(())
}

/// Whether a deployment is set to this package, or is live with this version of a service; one of several versions counts as well.
async fn deployment_uses(tx: &Tx, half: Half, key: &BundleKey) -> Result<bool> {
    let of_same = deployment::Entity::find().filter(deployment::Column::ProjectKey.eq(&key.project_key));
    for row in of_same.all(&**tx).await? {
        let settings = Settings::read(&row.settings)?;
        let mut versions = settings.api.iter().flat_map(|api| &api.versions);
        if row.bundle_id == key.bundle_id || versions.any(|share| share.version == key.bundle_id) {
            return Ok(true);
        }
        // What answers is looked at, and asked with its own test queries.
        let live = if half == Half::Api { Standing::read(&**tx, &row.id).await?.live } else { None };
        if live.is_some_and(|live| live.kind.deploys() && deploys(&live.body, &key.bundle_id)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn deploys(body: &DeploySpec, package: &str) -> bool {
    let mut versions = body.service.iter().flat_map(|service| &service.versions);
    body.package.bundle_id == package || versions.any(|one| one.version == package)
}

async fn unfinished_run_uses(tx: &Tx, key: &BundleKey) -> Result<bool> {
    let deployments = deployment::Entity::find()
        .select_only()
        .column(deployment::Column::Id)
        .filter(deployment::Column::ProjectKey.eq(&key.project_key))
        .into_query();
    let unfinished: Vec<i64> = run::Entity::find()
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::EndedAt.is_null())
        .filter(run::Column::DeploymentId.in_subquery(deployments))
        .into_tuple()
        .all(&**tx)
        .await?;
    let ids: Vec<_> = unfinished.into_iter().map(engine::ids::RunId).collect();
    for loaded in runs::load_many(&**tx, &ids).await? {
        let spec: DeploySpec = serde_json::from_value(loaded.state.spec.body.clone())?;
        if deploys(&spec, &key.bundle_id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The package store's words for the caller, or a fault where only we can mend it.
pub(crate) fn store_error(error: PackageError) -> Error {
    match &error {
        PackageError::Failed { .. } | PackageError::KeyInvalid | PackageError::Location(_) => {
            Error::fault(format!("{error} {:?}", std::error::Error::source(&error).map(ToString::to_string)))
        }
        PackageError::TooLarge { .. } => Error::field("PACKAGE_TOO_LARGE", "file", error.to_string()),
        PackageError::Interrupted(_) => Error::field("UPLOAD_INTERRUPTED", "file", error.to_string()),
        PackageError::NotFound => Error::field("PACKAGE_NOT_FOUND", "file", error.to_string()),
        PackageError::Corrupt => Error::field("PACKAGE_CORRUPT", "file", error.to_string()),
        PackageError::Full(_) => Error::field("PACKAGE_STORE_FULL", "file", error.to_string()),
    }
}
