//! Published projects: collections of bundles that can be deployed, with rights of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine::db::Tx;
use entities::{bundle, deployment, published_project, published_project_permission};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde_json::{Map, Value};
use targets::target::Half;

use crate::{
    Deployer,
    accounts::{
        changes::{inserted, lock_administrators, lock_groups},
        users::contains,
    },
    audit::{Object, ObjectKind, act::Act},
    bundles,
    error::{Error, Problems, Result},
    halves,
    infrastructures::validate::MOST_OTHER,
    names,
    paging::{Listing, Page},
    rights::{self, ProjectRights, Right},
    sealed, text, versions,
    viewer::Viewer,
};

/// The most groups that have rights on one project, or on one infrastructure.
pub(crate) const MOST_GROUPS: usize = 200;

/// A published project, as one viewer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Unique.
    pub key: String,
    /// What people read.
    pub name: String,
    /// The login that has every right on it.
    pub owner: String,
    /// Counts changes; editors name the one they saw.
    pub version: i64,
    /// The newest version that somebody else made than the one after it.
    pub other_version: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// What the viewer may do here.
    pub rights: ProjectRights,
    /// What each group may do; None unless the viewer administers the project.
    pub permissions: Option<Vec<Permission>>,
    /// What clients keep here that means nothing to us; None unless the viewer administers the project.
    pub other: Option<Map<String, Value>>,
    /// Who changed it last: a login.
    pub updated_by: String,
}

/// What a group may do on a published project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The group.
    pub group: String,
    /// See it and its bundles.
    pub read: bool,
    /// Upload and delete bundles.
    pub write: bool,
    /// Deploy its bundles.
    pub deploy: bool,
    /// All, and set rights.
    pub admin: bool,
}

/// What to change; None leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The version that the editor saw.
    pub expected_version: i64,
    /// Another name.
    pub name: Option<String>,
    /// Another owner: a login.
    pub owner: Option<String>,
    /// All groups with rights, in place of those before.
    pub permissions: Option<Vec<Permission>>,
    /// All that clients keep.
    pub other: Option<Map<String, Value>>,
}

/// Makes a published project that belongs to the viewer. Open to whoever is signed in, as is uploading the first bundle of one, which makes it, too.
///
/// # Errors
/// `ID_INVALID` and `TEXT_INVALID` by field; `ID_NOT_AVAILABLE` for a taken or reserved key.
pub async fn create(deployer: &Deployer, viewer: &Viewer, key: &str, name: Option<&str>) -> Result<Project> {
    let act = act(deployer, viewer, "createPublishedProject", key);
    act.once(create_once(deployer, viewer, key, name, &act)).await
}

pub(crate) fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, key: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::published(key))
}

async fn create_once(
    deployer: &Deployer,
    viewer: &Viewer,
    key: &str,
    name: Option<&str>,
    act: &Act<'_>,
) -> Result<Project> {
    let mut problems = Problems::default();
    names::check(key, "key", &mut problems);
    insert_new(deployer, viewer, (key, key), name, problems, act).await?;
    get(deployer, viewer, key).await?.ok_or_else(|| Error::not_found("key"))
}

/// Adds a row under a key, which people call `id`.
pub(crate) async fn insert_new(
    deployer: &Deployer,
    viewer: &Viewer,
    (key, id): (&str, &str),
    name: Option<&str>,
    mut problems: Problems,
    act: &Act<'_>,
) -> Result<()> {
    let field = field(halves::half_of(key));
    if let Some(name) = name {
        text::required_line(name, text::LINE, "name", &mut problems);
    }
    problems.check()?;
    let name = name.unwrap_or(id);
    let tx = deployer.db.begin().await?;
    if names::is_reserved(id) || !insert(&tx, key, name, viewer).await? {
        return Err(Error::id_not_available(field));
    }
    act.commit(tx).await
}

/// The argument that names it.
pub(crate) fn field(half: Half) -> &'static str {
    match half {
        Half::Project => "key",
        Half::Api => "id",
    }
}

/// Adds the row; false if the key is taken or reserved. The viewer's account must still be there when we commit: whoever gets the same login later
/// must not inherit the project.
pub(crate) async fn insert(tx: &Tx, key: &str, name: &str, viewer: &Viewer) -> Result<bool> {
    if names::is_reserved(key) {
        return Ok(false);
    }
    let now = tx.now().await?;
    let row = published_project::ActiveModel {
        key: Set(key.to_owned()),
        name: Set(name.to_owned()),
        owner: Set(viewer.login.clone()),
        version: Set(1),
        other_version: Set(0),
        created_at: Set(now),
        created_by: Set(viewer.login.clone()),
        other: Set(None),
        updated_by: Set(None),
    };
    let result = published_project::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&**tx).await?;
    // After the row: whoever changes a project locks it before accounts.
    if inserted(&result) && !tx.lock("account", "login = $1 AND enabled", viewer.login.as_str()).await? {
        return Err(Error::field("USER_UNKNOWN", "owner", "There is no enabled user with your login any more."));
    }
    Ok(inserted(&result))
}

/// The project; None if there is none that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn get(deployer: &Deployer, viewer: &Viewer, key: &str) -> Result<Option<Project>> {
    Ok(by_keys(deployer, viewer, &[key.to_owned()]).await?.remove(key))
}

/// Those of these projects that the viewer may see: two queries, however many.
///
/// # Errors
/// Faults only.
pub async fn by_keys(deployer: &Deployer, viewer: &Viewer, keys: &[String]) -> Result<HashMap<String, Project>> {
    by_keys_of(Half::Project, deployer, viewer, keys).await
}

pub(crate) async fn by_keys_of(
    half: Half,
    deployer: &Deployer,
    viewer: &Viewer,
    keys: &[String],
) -> Result<HashMap<String, Project>> {
    let rows = published_project::Entity::find()
        .filter(published_project::Column::Key.is_in(storable(keys)))
        .filter(halves::of_half(published_project::Column::Key, half))
        .filter(rights::projects_where(viewer, published_project::Column::Key, Right::Read))
        .all(deployer.db.pool())
        .await?;
    let projects = views(deployer.db.pool(), viewer, rows).await?;
    Ok(projects.into_iter().map(|project| (project.key.clone(), project)).collect())
}

/// The projects that the viewer may see, by key. `search` is looked for in key and name, without regard to case.
///
/// # Errors
/// Faults only.
pub async fn list(deployer: &Deployer, viewer: &Viewer, search: Option<&str>, page: &Page) -> Result<Listing<Project>> {
    list_of(Half::Project, deployer, viewer, search, page).await
}

pub(crate) async fn list_of(
    half: Half,
    deployer: &Deployer,
    viewer: &Viewer,
    search: Option<&str>,
    page: &Page,
) -> Result<Listing<Project>> {
    let mut query = published_project::Entity::find()
        .filter(rights::projects_where(viewer, published_project::Column::Key, Right::Read))
        .filter(halves::of_half(published_project::Column::Key, half));
    if let Some(search) = search {
        let like = Condition::any()
            .add(contains(published_project::Column::Key, search))
            .add(contains(published_project::Column::Name, search));
        query = query.filter(like);
    }
    if let Some(after) = &page.after {
        query = query.filter(published_project::Column::Key.gt(after));
    }
    let rows = query.order_by_asc(published_project::Column::Key).limit(page.limit()).all(deployer.db.pool()).await?;
    Ok(page.listing(views(deployer.db.pool(), viewer, rows).await?, |project| project.key.clone()))
}

/// Changes name, owner or rights.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Admin, `VERSION_CONFLICT`; by field `TEXT_INVALID`, `USER_UNKNOWN`, `GROUP_UNKNOWN`, `GROUP_REPEATED`.
pub async fn update(deployer: &Deployer, viewer: &Viewer, key: &str, change: Change) -> Result<Project> {
    let act = &act(deployer, viewer, "updatePublishedProject", key);
    act.run(|| update_of(Half::Project, deployer, viewer, key, change.clone(), act)).await
}

pub(crate) async fn update_of(
    half: Half,
    deployer: &Deployer,
    viewer: &Viewer,
    key: &str,
    change: Change,
    act: &Act<'_>,
) -> Result<Project> {
    halves::require(half, key, field(half))?;
    rights::require_published_project(deployer.db.pool(), viewer, key, Right::Admin, field(half)).await?;
    let tx = deployer.db.begin().await?;
    let row = lock(&tx, viewer, key).await?;
    act.before(&tx).await?;
    if row.version != change.expected_version {
        return Err(Error::version_conflict(change.expected_version, row.version));
    }
    check_change(&tx, &change).await?;
    let by = row.updated_by.as_ref().unwrap_or(&row.created_by);
    let other_version = versions::other((row.version, row.other_version), by, &viewer.login);
    let version = row.version + 1;
    let mut row = row.into_active_model();
    row.other_version = Set(other_version);
    row.version = Set(version);
    row.updated_by = Set(Some(viewer.login.clone()));
    if let Some(name) = change.name {
        row.name = Set(name);
    }
    if let Some(owner) = change.owner {
        row.owner = Set(owner);
    }
    if let Some(other) = change.other {
        row.other = Set(Some(serde_json::to_string(&other)?));
    }
    let row = row.update(&*tx).await?;
    if let Some(permissions) = change.permissions {
        published_project_permission::Entity::delete_many()
            .filter(published_project_permission::Column::ProjectKey.eq(key))
            .exec(&*tx)
            .await?;
        let rows: Vec<_> = permissions
            .into_iter()
            .zip(0..)
            .map(|(p, position)| published_project_permission::ActiveModel {
                project_key: Set(key.to_owned()),
                group_name: Set(p.group),
                can_read: Set(p.read),
                can_write: Set(p.write),
                can_deploy: Set(p.deploy),
                can_admin: Set(p.admin),
                position: Set(position),
            })
            .collect();
        if !rows.is_empty() {
            published_project_permission::Entity::insert_many(rows).exec_without_returning(&*tx).await?;
        }
    }
    // Whoever gave their own rights away learns that it worked all the same.
    let changed = views(&*tx, viewer, vec![row]).await?.pop();
    act.commit(tx).await?;
    changed.ok_or_else(|| Error::fault("a row without a view"))
}

/// Removes a published project that has neither bundles nor deployments.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Admin, `IN_USE`.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, key: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deletePublishedProject", key);
    act.run(|| delete_of(Half::Project, deployer, viewer, key, act)).await
}

pub(crate) async fn delete_of(
    half: Half,
    deployer: &Deployer,
    viewer: &Viewer,
    key: &str,
    act: &Act<'_>,
) -> Result<()> {
    halves::require(half, key, field(half))?;
    rights::require_published_project(deployer.db.pool(), viewer, key, Right::Admin, field(half)).await?;
    let tx = deployer.db.begin().await?;
    lock(&tx, viewer, key).await?;
    act.before(&tx).await?;
    remove(&tx, key).await?;
    act.commit(tx).await
}

/// Removes a published project with its bundles. Ids that a node has imported stay bound to their content.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Admin, `IN_USE` while a deployment uses it.
pub async fn delete_with_bundles(deployer: &Deployer, viewer: &Viewer, key: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deletePublishedProject", key);
    delete_all_of(Half::Project, deployer, viewer, key, act).await
}

pub(crate) async fn delete_all_of(
    half: Half,
    deployer: &Deployer,
    viewer: &Viewer,
    key: &str,
    act: &Act<'_>,
) -> Result<()> {
    let packages = act.run(|| delete_all_once(half, deployer, viewer, key, act)).await?;
    // The bundles are gone; their bytes only take room. There may be many: this goes on when the request's time is over.
    let deployer = deployer.clone();
    let removal = async move {
        for sha256 in packages {
            if let Err(error) = bundles::drop_package(&deployer, &sha256).await {
                tracing::warn!(error = ?error, sha256, "the package of a deleted bundle could not be removed");
            }
        }
    };
    tokio::spawn(removal).await.map_err(|_| Error::fault("the removal of packages broke off"))
}

async fn delete_all_once(
    half: Half,
    deployer: &Deployer,
    viewer: &Viewer,
    key: &str,
    act: &Act<'_>,
) -> Result<Vec<String>> {
    halves::require(half, key, field(half))?;
    rights::require_published_project(deployer.db.pool(), viewer, key, Right::Admin, field(half)).await?;
    let tx = deployer.db.begin().await?;
    lock(&tx, viewer, key).await?;
    act.before(&tx).await?;
    let packages: Vec<String> = bundle::Entity::find()
        .select_only()
        .column(bundle::Column::Sha256)
        .filter(bundle::Column::ProjectKey.eq(key))
        .into_tuple()
        .all(&*tx)
        .await?;
    // Whoever makes a deployment holds its bundle: after this none is made, and one that was made meanwhile is seen below.
    bundle::Entity::delete_many().filter(bundle::Column::ProjectKey.eq(key)).exec(&*tx).await?;
    remove(&tx, key).await?;
    act.commit(tx).await?;
    Ok(packages)
}

/// Removes the rows of a project that nothing uses.
async fn remove(tx: &Tx, key: &str) -> Result<()> {
    let half = halves::half_of(key);
    let (noun, field) = (halves::noun(half), field(half));
    sealed::forget_versions(tx, key).await?;
    let deployments = deployment::Entity::find().filter(deployment::Column::ProjectKey.eq(key)).count(&**tx).await?;
    if deployments > 0 {
        let message = format!("A deployment uses this {noun}. Delete its deployments first.");
        return Err(Error::field("IN_USE", field, message));
    }
    let bundles = bundle::Entity::find().filter(bundle::Column::ProjectKey.eq(key)).count(&**tx).await?;
    if bundles > 0 {
        let packages = halves::package(half);
        let message = format!("This {noun} has {packages}s. Delete its {packages}s first.");
        return Err(Error::field("IN_USE", field, message));
    }
    published_project_permission::Entity::delete_many()
        .filter(published_project_permission::Column::ProjectKey.eq(key))
        .exec(&**tx)
        .await?;
    published_project::Entity::delete_by_id(key.to_owned()).exec(&**tx).await?;
    Ok(())
}

/// Locks the project, and asks again: the right may have gone while we waited.
async fn lock(tx: &Tx, viewer: &Viewer, key: &str) -> Result<published_project::Model> {
    tx.lock("published_project", "key = $1", key).await?;
    rights::require_published_project(&**tx, viewer, key, Right::Admin, field(halves::half_of(key))).await
}

/// The ids that a row can have: PostgreSQL refuses a NUL in a text, where no such row is the answer.
pub(crate) fn storable(ids: &[String]) -> impl Iterator<Item = String> {
    ids.iter().filter(|id| text::storable(id)).cloned()
}

async fn check_change(tx: &Tx, change: &Change) -> Result<()> {
    let mut problems = Problems::default();
    let groups = change.permissions.iter().flatten().map(|permission| permission.group.clone()).collect();
    lock_administrators(tx, &groups).await?;
    if let Some(name) = &change.name {
        text::required_line(name, text::LINE, "name", &mut problems);
    }
    if let Some(owner) = &change.owner
        && !(text::storable(owner) && tx.lock("account", "login = $1", owner.as_str()).await?)
    {
        problems.add("USER_UNKNOWN", "owner", "There is no user with this login.");
    }
    let other =
        change.other.as_ref().map_or(0, |other| serde_json::to_vec(other).map_or(usize::MAX, |json| json.len()));
    if other > MOST_OTHER {
        problems.add(
            "SETTINGS_TOO_LARGE",
            "other",
            format!("At most {MOST_OTHER} bytes of keys that Slipway does not know."),
        );
    }
    if let Some(permissions) = &change.permissions {
        if permissions.len() > MOST_GROUPS {
            problems.add("TOO_MANY", "permissions", format!("At most {MOST_GROUPS} groups can have rights."));
            return problems.check();
        }
        let mut named = BTreeSet::new();
        for (index, permission) in permissions.iter().enumerate() {
            if !named.insert(permission.group.clone()) {
                problems.add("GROUP_REPEATED", format!("permissions[{index}].group"), "This group is named twice.");
            }
        }
        problems.check()?;
        return lock_groups(tx, &named, "permissions").await;
    }
    problems.check()
}

async fn views<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    rows: Vec<published_project::Model>,
) -> Result<Vec<Project>> {
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let mut permissions: BTreeMap<String, Vec<published_project_permission::Model>> = BTreeMap::new();
    let found = published_project_permission::Entity::find()
        .filter(published_project_permission::Column::ProjectKey.is_in(keys.iter().cloned()))
        .order_by_asc(published_project_permission::Column::Position)
        .order_by_asc(published_project_permission::Column::GroupName)
        .all(db)
        .await?;
    for row in found {
        permissions.entry(row.project_key.clone()).or_default().push(row);
    }
    let all_rights = rights::project_rights(db, viewer, &keys).await?;
    let view = |row: published_project::Model| {
        let groups = permissions.remove(&row.key).unwrap_or_default();
        let rights = all_rights.get(&row.key).copied().unwrap_or_default();
        let shown = |p: published_project_permission::Model| Permission {
            group: p.group_name,
            read: p.can_read,
            write: p.can_write,
            deploy: p.can_deploy,
            admin: p.can_admin,
        };
        Ok(Project {
            updated_by: row.updated_by.unwrap_or_else(|| row.created_by.clone()),
            other: match (rights.admin, &row.other) {
                (true, Some(other)) => Some(serde_json::from_str(other)?),
                (true, None) => Some(Map::new()),
                (false, _) => None,
            },
            permissions: rights.admin.then(|| groups.into_iter().map(shown).collect()),
            key: row.key,
            name: row.name,
            owner: row.owner,
            version: row.version,
            other_version: row.other_version,
            created_at: row.created_at,
            created_by: row.created_by,
            rights,
        })
    };
    rows.into_iter().map(view).collect()
}
