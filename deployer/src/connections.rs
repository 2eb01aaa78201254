//! Connections: whose credentials reach a platform, and where they may be sent. Infrastructures name them; their secrets are in none of these.
//!
//! * [`Connection`]: as one viewer sees it.
//! * [`list`], [`get`], [`by_ids`]: reading. [`create`], [`update`], [`delete`]: changing.
//! * [`check`]: signs in, and says what the credentials lack. [`kinds`]: what types there are.

mod change;

use std::collections::{BTreeMap, BTreeSet};

use entities::{connection, connection_permission};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde_json::{Map, Value};
use targets::{
    connections::ConnectionDescription,
    spec::{ConnectionSpec, InfrastructureSpec},
};

pub(crate) use self::change::hold;
pub use self::change::{ConnectionPatch, NewConnection, create, delete, update};
use crate::{
    Deployer,
    accounts::users::contains,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    infrastructures::{CheckOutcome, Permission, Settings},
    paging::{Listing, Page},
    platform::Opener,
    projects::storable,
    rights::{Level, connections as rights},
    schema,
    viewer::Viewer,
};

/// A connection, as far as this viewer may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Unique.
    pub id: String,
    /// Its type, such as `AWS`.
    pub kind: String,
    /// What this viewer may do with it.
    pub level: Level,
    /// Counts changes; editors name the one they saw.
    pub version: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// When, in µs since the Unix epoch.
    pub updated_at: i64,
    /// Who: a login.
    pub updated_by: String,
    /// For its administrators alone: its settings, with [`schema::MASK`] for each secret.
    pub settings: Option<Map<String, Value>>,
    /// For its administrators alone: what each group may do.
    pub permissions: Option<Vec<Permission>>,
}

/// The types of connection.
pub fn kinds(deployer: &Deployer) -> Vec<ConnectionDescription> {
    deployer.targets.connections().iter().map(|kind| kind.describe()).collect()
}

/// A page of the connections that the viewer may see, by id. `text` is part of the id.
///
/// # Errors
/// The database's.
pub async fn list(
    deployer: &Deployer,
    viewer: &Viewer,
    text: Option<&str>,
    page: &Page,
) -> Result<Listing<Connection>> {
    let db = deployer.db.pool();
    let mine = rights::connections_where(viewer, connection::Column::Id, Level::View);
    let mut select = connection::Entity::find().filter(mine);
    if let Some(text) = text {
        select = select.filter(contains(connection::Column::Id, text));
    }
    if let Some(after) = &page.after {
        select = select.filter(connection::Column::Id.gt(after));
    }
    let rows = select.order_by_asc(connection::Column::Id).limit(page.limit()).all(db).await?;
    Ok(page.listing(views(db, viewer, rows).await?, |one| one.id.clone()))
}

/// One connection; None when it is absent or hidden.
///
/// # Errors
/// The database's.
pub async fn get(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Option<Connection>> {
    Ok(by_ids(deployer, viewer, &[id.to_owned()]).await?.remove(id))
}

/// Connections by id; those that the viewer may see.
///
/// # Errors
/// The database's.
pub async fn by_ids(deployer: &Deployer, viewer: &Viewer, ids: &[String]) -> Result<BTreeMap<String, Connection>> {
    let db = deployer.db.pool();
    let rows = connection::Entity::find()
        .filter(connection::Column::Id.is_in(storable(ids)))
        .filter(rights::connections_where(viewer, connection::Column::Id, Level::View))
        .all(db)
        .await?;
    Ok(views(db, viewer, rows).await?.into_iter().map(|one| (one.id.clone(), one)).collect())
}

async fn views<C: ConnectionTrait>(db: &C, viewer: &Viewer, rows: Vec<connection::Model>) -> Result<Vec<Connection>> {
    let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let levels = rights::connection_levels(db, viewer, &ids).await?;
    let mut permissions: BTreeMap<String, Vec<Permission>> = BTreeMap::new();
    let found = connection_permission::Entity::find()
        .filter(connection_permission::Column::ConnectionId.is_in(ids))
        .order_by_asc(connection_permission::Column::Position)
        .order_by_asc(connection_permission::Column::GroupName)
        .all(db)
        .await?;
    for row in found {
        let permission = Permission { group: row.group_name, level: Level::from_row(row.level) };
        permissions.entry(row.connection_id).or_default().push(permission);
    }
    let view = |row: connection::Model| {
        // A right may have gone since the rows were read.
        let level = levels.get(&row.id).copied().filter(|level| *level >= Level::View)?;
        let mine = permissions.remove(&row.id).unwrap_or_default();
        Some(seen(row, level, mine))
    };
    rows.into_iter().filter_map(view).collect()
}

fn seen(row: connection::Model, level: Level, permissions: Vec<Permission>) -> Result<Connection> {
    let admin = level >= Level::Admin;
    let settings = read(&row)?;
    Ok(Connection {
        id: row.id,
        kind: row.kind,
        level,
        version: row.version,
        created_at: row.created_at,
        created_by: row.created_by,
        updated_at: row.updated_at,
        updated_by: row.updated_by,
        settings: admin.then(|| schema::masked(&settings)),
        permissions: admin.then_some(permissions),
    })
}

fn read(row: &connection::Model) -> Result<Map<String, Value>> {
    Ok(serde_json::from_str(&row.settings)?)
}

/// Signs in with a connection's credentials, and says what they lack. Changes nothing. Whoever may use it.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy.
pub async fn check(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<CheckOutcome> {
    let act = Act::new(deployer, viewer, "checkConnection", Object::new(ObjectKind::Connection, id));
    act.once(check_once(deployer, viewer, id)).await
}

async fn check_once(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<CheckOutcome> {
    let row = rights::require_connection(deployer.db.pool(), viewer, id, Level::Deploy, "id").await?;
    let levels = rights::connection_levels(deployer.db.pool(), viewer, std::slice::from_ref(&row.id)).await?;
    let level = levels.get(&row.id).copied().unwrap_or_default();
    let kind = deployer.targets.connection(&row.kind);
    let kind = kind.ok_or_else(|| Error::fault(format!("this build lacks connections of type {}", row.kind)))?;
    let settings = read(&row)?;
    let spec = ConnectionSpec { id: row.id, kind: row.kind, settings };
    Ok(match kind.check(&spec, &Opener(deployer)).await {
        Ok(report) => CheckOutcome::Reached(report),
        Err(mut failure) => {
            // The platform's own words may say more than who uses a connection is to know.
            if level < Level::Admin {
                failure.detail = None;
            }
            CheckOutcome::Failed(failure)
        }
    })
}

/// Puts the connection that an infrastructure's settings name into its spec. One that is gone is left out: the target says that it needs one.
pub(crate) async fn attach<C: ConnectionTrait>(
    db: &C,
    spec: &mut InfrastructureSpec,
    settings: &Settings,
) -> Result<()> {
    let Some(id) = &settings.connection else { return Ok(()) };
    if let Some(row) = connection::Entity::find_by_id(id.clone()).one(db).await? {
        let settings = read(&row)?;
        spec.connection = Some(ConnectionSpec { id: row.id, kind: row.kind, settings });
    }
    Ok(())
}

/// The groups that permissions name.
fn names_of(permissions: &[Permission]) -> BTreeSet<String> {
    permissions.iter().map(|permission| permission.group.clone()).collect()
}
