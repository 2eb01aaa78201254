//! Making, changing and deleting connections. Lock order: the connection, the group `administrators`, other groups; then rows that name groups.

use engine::db::Tx;
use entities::{connection, connection_permission, infrastructure};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
};
use serde_json::{Map, Value};

use super::{Connection, get, names_of, read};
use crate::{
    Deployer,
    accounts::changes::{inserted, lock_administrators, lock_groups},
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    infrastructures::{Permission, Settings, bound_permissions, documents::refuse_left_behind, permission_rows},
    kept::inside,
    names,
    rights::{self, Level, connections},
    schema::{self, Document, Prepared, Schema},
    sealed, text,
    viewer::Viewer,
};

/// A connection to be made.
#[derive(Clone, Debug, Default)]
pub struct NewConnection {
    /// Unique, for good.
    pub id: String,
    /// Its type, such as `AWS`.
    pub kind: String,
    /// As its type's schema describes it.
    pub settings: Document,
    /// What groups may do with it.
    pub permissions: Vec<Permission>,
}

/// What to change; None leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ConnectionPatch {
    /// The version that the editor saw.
    pub expected_version: i64,
    /// All settings, in place of those before; a mask keeps a secret.
    pub settings: Option<Document>,
    /// All groups with rights.
    pub permissions: Option<Vec<Permission>>,
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, id: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::Connection, id))
}

/// Makes a connection. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`; `ID_INVALID`, `ID_NOT_AVAILABLE`; `CONNECTION_TYPE_UNKNOWN`; `SETTING_INVALID` by path; `GROUP_UNKNOWN`.
pub async fn create(deployer: &Deployer, viewer: &Viewer, new: NewConnection) -> Result<Connection> {
    let act = act(deployer, viewer, "createConnection", &new.id);
    act.once(create_once(deployer, viewer, new, &act)).await
}

async fn create_once(deployer: &Deployer, viewer: &Viewer, new: NewConnection, act: &Act<'_>) -> Result<Connection> {
    rights::require_global_admin(viewer)?;
    bound_permissions(&new.permissions)?;
    let mut problems = Problems::default();
    names::check(&new.id, "id", &mut problems);
    let permissions = permission_rows(&new.permissions, &mut problems);
    let schema = match schema_of(deployer, &new.kind)? {
        Some(schema) => schema,
        None => {
            let known: Vec<_> = super::kinds(deployer).iter().map(|kind| kind.kind).collect();
            let message = format!("There is no such type of connection. There are: {}.", known.join(", "));
            problems.add("CONNECTION_TYPE_UNKNOWN", "type", message);
            return Err(problems.check().err().unwrap_or_else(|| Error::not_found("type")));
        }
    };
    let prepared = take(deployer, &new.kind, &schema, &Map::new(), new.settings, &mut problems);
    problems.check()?;
    if names::is_reserved(&new.id) {
        return Err(Error::id_not_available("id"));
    }
    let tx = deployer.db.begin().await?;
    let settings = prepared.seal(&tx, &deployer.keyring, &sealed::connection_owner_of(&new.id)).await?;
    let now = tx.now().await?;
    let row = connection::ActiveModel {
        id: Set(new.id.clone()),
        kind: Set(new.kind),
        settings: Set(serde_json::to_string(&settings)?),
        version: Set(1),
        created_at: Set(now),
        created_by: Set(viewer.login.clone()),
        updated_at: Set(now),
        updated_by: Set(viewer.login.clone()),
    };
    let result = connection::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&*tx).await?;
    if !inserted(&result) {
        return Err(Error::id_not_available("id"));
    }
    lock_administrators(&tx, &names_of(&permissions)).await?;
    put_permissions(&tx, &new.id, &permissions).await?;
    act.commit(tx).await?;
    get(deployer, viewer, &new.id).await?.ok_or_else(|| Error::not_found("id"))
}

fn schema_of(deployer: &Deployer, kind: &str) -> Result<Option<std::sync::Arc<Schema>>> {
    deployer.targets.connection(kind).map(|kind| schema::of(kind.describe().settings)).transpose()
}

/// Checks settings that were entered, and takes their secrets out.
fn take(
    deployer: &Deployer,
    kind: &str,
    schema: &Schema,
    old: &Map<String, Value>,
    new: Document,
    problems: &mut Problems,
) -> Prepared {
    let before = problems.count();
    let prepared = schema::take(schema, old, new, "settings", problems);
    // What the schema refuses, nobody can read.
    if let Some(kind) = deployer.targets.connection(kind).filter(|_| problems.count() == before) {
        for (path, message) in kind.unreadable(&prepared.draft(), prepared.entered()) {
            problems.add("SETTING_INVALID", inside("settings", &path), message);
        }
    }
    prepared
}

/// Changes a connection's settings or rights. Whoever changes where its secrets are sent enters them again. Its administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `VERSION_CONFLICT`; `SETTING_INVALID`, `ADMIN_KEY_MASKED` by path; `GROUP_UNKNOWN`.
pub async fn update(deployer: &Deployer, viewer: &Viewer, id: &str, patch: ConnectionPatch) -> Result<Connection> {
    let act = &act(deployer, viewer, "updateConnection", id);
    act.run(|| update_once(deployer, viewer, id, patch.clone(), act)).await
}

async fn update_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    patch: ConnectionPatch,
    act: &Act<'_>,
) -> Result<Connection> {
    // Asked before the lock, too: whoever may not change it must not keep others waiting.
    connections::require_connection(deployer.db.pool(), viewer, id, Level::Admin, "id").await?;
    bound_permissions(patch.permissions.as_deref().unwrap_or_default())?;
    let tx = deployer.db.begin().await?;
    let row = lock(&tx, viewer, id).await?;
    act.before(&tx).await?;
    if row.version != patch.expected_version {
        return Err(Error::version_conflict(patch.expected_version, row.version));
    }
    let mut problems = Problems::default();
    let schema = schema_of(deployer, &row.kind)?;
    let schema = schema.ok_or_else(|| Error::fault(format!("this build lacks connections of type {}", row.kind)))?;
    let old = read(&row)?;
    let prepared = patch.settings.map(|document| take(deployer, &row.kind, &schema, &old, document, &mut problems));
    let permissions = patch.permissions.as_ref().map(|given| permission_rows(given, &mut problems));
    problems.check()?;
    let moved = prepared.as_ref().map(|prepared| schema::moved(&schema, &old, &prepared.draft())).unwrap_or_default();
    if let Some(first) = moved.first() {
        let users = users_of(&tx, id).await?;
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        refuse_left_behind(&tx, &users, &format!("settings.{first}")).await?;
    }
    if let Some(permissions) = &permissions {
        lock_administrators(&tx, &names_of(permissions)).await?;
    }
    let owner = sealed::connection_owner_of(id);
    let settings = match prepared {
        Some(prepared) => prepared.seal(&tx, &deployer.keyring, &owner).await?,
        None => old,
    };
    let text = serde_json::to_string(&settings)?;
    let version = row.version + 1;
    let mut row = row.into_active_model();
    row.settings = Set(text.clone());
    row.version = Set(version);
    row.updated_at = Set(tx.now().await?);
    row.updated_by = Set(viewer.login.clone());
    let row = row.update(&*tx).await?;
    sealed::forget_unused_of(&tx, &owner, &sealed::named_in(&text)?, None).await?;
    let kept = match permissions {
        Some(permissions) => {
            put_permissions(&tx, id, &permissions).await?;
            permissions
        }
        None => super::views(&*tx, viewer, vec![row.clone()])
            .await?
            .pop()
            .and_then(|one| one.permissions)
            .unwrap_or_default(),
    };
    // Whoever gave their own rights away learns that it worked all the same.
    let changed = super::seen(row, Level::Admin, kept)?;
    act.commit(tx).await?;
    Ok(changed)
}

/// Deletes a connection that no infrastructure uses. Its administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`; `IN_USE`, which says that something uses it, and never what.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deleteConnection", id);
    act.run(|| delete_once(deployer, viewer, id, act)).await
}

async fn delete_once(deployer: &Deployer, viewer: &Viewer, id: &str, act: &Act<'_>) -> Result<()> {
    connections::require_connection(deployer.db.pool(), viewer, id, Level::Admin, "id").await?;
    let tx = deployer.db.begin().await?;
    lock(&tx, viewer, id).await?;
    act.before(&tx).await?;
    if !users_of(&tx, id).await?.is_empty() {
        let message = "An infrastructure uses this connection. Let it use another one first.";
        return Err(Error::field("IN_USE", "id", message));
    }
    connection_permission::Entity::delete_many()
        .filter(connection_permission::Column::ConnectionId.eq(id))
        .exec(&*tx)
        .await?;
    sealed::forget_owner(&tx, &sealed::connection_owner_of(id)).await?;
    connection::Entity::delete_by_id(id).exec(&*tx).await?;
    act.commit(tx).await
}

/// The infrastructures that use it.
async fn users_of(tx: &Tx, id: &str) -> Result<Vec<String>> {
    let mut users = Vec::new();
    for row in infrastructure::Entity::find().all(&**tx).await? {
        if Settings::read(&row.settings)?.connection.as_deref() == Some(id) {
            users.push(row.id);
        }
    }
    Ok(users)
}

/// Locks the row and asks again: the right may have gone while we waited.
async fn lock(tx: &Tx, viewer: &Viewer, id: &str) -> Result<connection::Model> {
    if text::storable(id) {
        tx.lock("connection", "id = $1", id).await?;
    }
    connections::require_connection(&**tx, viewer, id, Level::Admin, "id").await
}

/// Keeps a connection that an infrastructure is to use until the transaction's end, if the viewer may use it and it is of this type.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on `connection`; `CONNECTION_NOT_FITTING`.
pub(crate) async fn hold(tx: &Tx, viewer: &Viewer, id: &str, kind: &str) -> Result<()> {
    if text::storable(id) {
        tx.lock("connection", "id = $1", id).await?;
    }
    let row = connections::require_connection(&**tx, viewer, id, Level::Deploy, "connection").await?;
    if row.kind != kind {
        let message =
            format!("This infrastructure needs a connection of type {kind}; this one is of type {}.", row.kind);
        return Err(Error::field("CONNECTION_NOT_FITTING", "connection", message));
    }
    Ok(())
}

/// Gives exactly these rights. The groups first, then the rows: whoever deletes a group goes that way, too.
async fn put_permissions(tx: &Tx, id: &str, permissions: &[Permission]) -> Result<()> {
    lock_groups(tx, &names_of(permissions), "permissions").await?;
    connection_permission::Entity::delete_many()
        .filter(connection_permission::Column::ConnectionId.eq(id))
        .exec(&**tx)
        .await?;
    let rows: Vec<_> = permissions
        .iter()
        .zip(0..)
        .map(|(permission, position)| connection_permission::ActiveModel {
            connection_id: Set(id.to_owned()),
            group_name: Set(permission.group.clone()),
            level: Set(permission.level.to_row()),
            position: Set(position),
        })
        .collect();
    if !rows.is_empty() {
        connection_permission::Entity::insert_many(rows).exec_without_returning(&**tx).await?;
    }
    Ok(())
}
