//! Rights on connections: levels, as on infrastructures. View sees that there is one, Deploy may choose it for an infrastructure, Admin sees its settings and changes it.

use std::collections::BTreeMap;

use entities::{connection, connection_permission};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _, sea_query::Query};

use super::Level;
use crate::{
    error::{Error, Result},
    text,
    viewer::Viewer,
};

/// The viewer's levels on these connections; one that is not in the answer has [`Level::None`]. One query.
///
/// # Errors
/// The database's.
pub async fn connection_levels<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    ids: &[String],
) -> Result<BTreeMap<String, Level>> {
    use connection_permission::{Column, Entity};
    if viewer.is_admin() {
        return Ok(ids.iter().map(|id| (id.clone(), Level::Admin)).collect());
    }
    let rows = Entity::find()
        .filter(Column::ConnectionId.is_in(ids.iter().filter(|id| text::storable(id)).cloned()))
        .filter(Column::GroupName.is_in(viewer.groups.iter().cloned()))
        .all(db)
        .await?;
    let mut levels = BTreeMap::new();
    for row in rows {
        let best = levels.entry(row.connection_id).or_default();
        *best = Level::from_row(row.level).max(*best);
    }
    Ok(levels)
}

/// A condition on a column that holds ids of connections: those on which the viewer has at least this level.
pub fn connections_where(viewer: &Viewer, column: impl ColumnTrait, at_least: Level) -> Condition {
    use connection_permission::{Column, Entity};
    if viewer.is_admin() {
        return Condition::all();
    }
    let permitted = Query::select()
        .column(Column::ConnectionId)
        .from(Entity)
        .and_where(Column::GroupName.is_in(viewer.groups.iter().cloned()))
        .and_where(Column::Level.gte(at_least.max(Level::View).to_row()))
        .to_owned();
    Condition::all().add(column.in_subquery(permitted))
}

/// The connection, if the viewer has at least this level on it.
///
/// # Errors
/// `NOT_FOUND` on `field` when it is absent or hidden, `FORBIDDEN` when it is visible and the level too low.
pub async fn require_connection<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    id: &str,
    at_least: Level,
    field: &str,
) -> Result<connection::Model> {
    if !text::storable(id) {
        return Err(Error::not_found(field));
    }
    let levels = connection_levels(db, viewer, &[id.to_owned()]).await?;
    let level = levels.get(id).copied().unwrap_or_default();
    let row = connection::Entity::find_by_id(id).one(db).await?;
    match row {
        Some(row) if level >= at_least.max(Level::View) => Ok(row),
        Some(_) if level >= Level::View => {
            Err(Error::forbidden(&format!("the right {} on the connection", at_least.name())))
        }
        _ => Err(Error::not_found(field)),
    }
}
