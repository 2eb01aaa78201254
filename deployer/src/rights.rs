//! Rights: computed here and nowhere else.
//!
//! Groups alone hold rights. On an infrastructure, or a connection ([`connections`]), they are levels, each containing those before; on a published
//! project, or service, they are separate rights, of which the owner has all: services are rows of the same tables (`halves`). A deployment has none
//! of its own: it is seen by who may see its infrastructure *and* read its published project, or service, and changed by who may deploy on both.
//! Members of `administrators` have every right.
//!
//! What a viewer may not see does not exist for them: single reads answer [`Error::not_found`] for hidden and for absent ids alike, and lists
//! and counts filter in SQL with the `*_where` conditions, so that no page, cursor or total tells of hidden rows.

pub mod connections;

use std::collections::BTreeMap;

use entities::{
    deployment, infrastructure, infrastructure_permission, published_project, published_project_permission,
};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::Query};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    halves, text,
    viewer::Viewer,
};

/// What a viewer may do on an infrastructure. Each level contains those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Level {
    /// Nothing: it is not there.
    #[default]
    None,
    /// See it, and the deployments on it as far as their projects may be read.
    View,
    /// Deploy on it.
    Deploy,
    /// See and change its settings, rights and hooks.
    Admin,
}

impl Level {
    /// As the table keeps it; an unknown number is no right.
    pub fn from_row(level: i32) -> Self {
        match level {
            1 => Self::View,
            2 => Self::Deploy,
            3 => Self::Admin,
            _ => Self::None,
        }
    }

    /// What the table keeps: 0 to 3.
    pub fn to_row(self) -> i32 {
        match self {
            Self::None => 0,
            Self::View => 1,
            Self::Deploy => 2,
            Self::Admin => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None | Self::View => "View",
            Self::Deploy => "Deploy",
            Self::Admin => "Admin",
        }
    }
}

/// One right on a published project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// See it and its bundles.
    Read,
    /// Upload and delete bundles.
    Write,
    /// Deploy its bundles.
    Deploy,
    /// All of these, and set rights.
    Admin,
}

impl Right {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Deploy => "Deploy",
            Self::Admin => "Admin",
        }
    }
}

/// What a viewer may do on a published project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectRights {
    /// See it and its bundles.
    pub read: bool,
    /// Upload and delete bundles.
    pub write: bool,
    /// Deploy its bundles.
    pub deploy: bool,
    /// All of these, and set rights.
    pub admin: bool,
}

impl ProjectRights {
    /// No right: it is not there.
    pub const NONE: Self = Self { read: false, write: false, deploy: false, admin: false };
    /// Every right: the owner's.
    pub const ALL: Self = Self { read: true, write: true, deploy: true, admin: true };

    /// What the flags of a permission row amount to: write and deploy contain read, admin contains all.
    pub fn granted(read: bool, write: bool, deploy: bool, admin: bool) -> Self {
        Self { read: read || write || deploy || admin, write: write || admin, deploy: deploy || admin, admin }
    }

    /// The rights of two groups together.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            write: self.write || other.write,
            deploy: self.deploy || other.deploy,
            admin: self.admin || other.admin,
        }
    }

    /// Whether this right is among them.
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::Read => self.read,
            Right::Write => self.write,
            Right::Deploy => self.deploy,
            Right::Admin => self.admin,
        }
    }
}

/// What is asked of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// View on its infrastructure and Read on its published project.
    See,
    /// Deploy on both.
    Change,
}

impl Access {
    fn needs(self) -> (Level, Right) {
        match self {
            Self::See => (Level::View, Right::Read),
            Self::Change => (Level::Deploy, Right::Deploy),
        }
    }
}

/// What a viewer may do with a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeploymentRights {
    /// On its infrastructure.
    pub infrastructure: Level,
    /// On its published project.
    pub project: ProjectRights,
}

impl DeploymentRights {
    /// Whether both sides allow it.
    pub fn may(self, access: Access) -> bool {
        let (level, right) = access.needs();
        self.infrastructure >= level && self.project.has(right)
    }
}

/// Refuses whoever is no global administrator.
///
/// # Errors
/// `FORBIDDEN`.
pub fn require_global_admin(viewer: &Viewer) -> Result<()> {
    if viewer.is_admin() { Ok(()) } else { Err(Error::forbidden("to be a global administrator")) }
}

/// The viewer's levels on these infrastructures; an id that is not in the answer has [`Level::None`]. One query. A global administrator is
/// `Admin` of every id asked for, whether or not there is such an infrastructure.
///
/// # Errors
/// The database's.
pub async fn infrastructure_levels<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    ids: &[String],
) -> Result<BTreeMap<String, Level>> {
    use infrastructure_permission::{Column, Entity};
    if viewer.is_admin() {
        return Ok(ids.iter().map(|id| (id.clone(), Level::Admin)).collect());
    }
    let rows = Entity::find()
        .filter(Column::InfrastructureId.is_in(ids.iter().filter(|id| text::storable(id)).cloned()))
        .filter(Column::GroupName.is_in(viewer.groups.iter().cloned()))
        .all(db)
        .await?;
    let mut levels = BTreeMap::new();
    for row in rows {
        let level = Level::from_row(row.level);
        let best = levels.entry(row.infrastructure_id).or_default();
        *best = level.max(*best);
    }
    Ok(levels)
}

/// The viewer's level on one infrastructure.
///
/// # Errors
/// The database's.
pub async fn infrastructure_level<C: ConnectionTrait>(db: &C, viewer: &Viewer, id: &str) -> Result<Level> {
    let levels = infrastructure_levels(db, viewer, &[id.to_owned()]).await?;
    Ok(levels.get(id).copied().unwrap_or_default())
}

/// A condition on a column that holds infrastructure ids: those on which the viewer has at least this level.
pub fn infrastructures_where(viewer: &Viewer, column: impl ColumnTrait, at_least: Level) -> Condition {
    use infrastructure_permission::{Column, Entity};
    if viewer.is_admin() {
        return Condition::all();
    }
    let permitted = Query::select()
        .column(Column::InfrastructureId)
        .from(Entity)
        .and_where(Column::GroupName.is_in(viewer.groups.iter().cloned()))
        .and_where(Column::Level.gte(at_least.max(Level::View).to_row()))
        .to_owned();
    Condition::all().add(column.in_subquery(permitted))
}

/// The infrastructure, if the viewer has at least this level on it.
///
/// # Errors
/// `NOT_FOUND` on `field` when it is absent or hidden, `FORBIDDEN` when it is visible and the level too low.
pub async fn require_infrastructure<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    id: &str,
    at_least: Level,
    field: &str,
) -> Result<infrastructure::Model> {
    if !text::storable(id) {
        return Err(Error::not_found(field));
    }
    let level = infrastructure_level(db, viewer, id).await?;
    let row = infrastructure::Entity::find_by_id(id).one(db).await?;
    match row {
        Some(row) if level >= at_least.max(Level::View) => Ok(row),
        Some(_) if level >= Level::View => {
            Err(Error::forbidden(&format!("the right {} on the infrastructure", at_least.name())))
        }
        _ => Err(Error::not_found(field)),
    }
}

/// The viewer's rights on these published projects; a key that is not in the answer has none. Two queries at most. A global administrator has
/// all rights on every key asked for, whether or not there is such a project.
///
/// # Errors
/// The database's.
pub async fn project_rights<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    keys: &[String],
) -> Result<BTreeMap<String, ProjectRights>> {
    use published_project_permission::{Column, Entity};
    if viewer.is_admin() {
        return Ok(keys.iter().map(|key| (key.clone(), ProjectRights::ALL)).collect());
    }
    let keys: Vec<_> = keys.iter().filter(|key| text::storable(key)).cloned().collect();
    let owned: Vec<String> = published_project::Entity::find()
        .select_only()
        .column(published_project::Column::Key)
        .filter(published_project::Column::Key.is_in(keys.iter().cloned()))
        .filter(published_project::Column::Owner.eq(&viewer.login))
        .into_tuple()
        .all(db)
        .await?;
    let mut rights: BTreeMap<_, _> = owned.into_iter().map(|key| (key, ProjectRights::ALL)).collect();
    let rows = Entity::find()
        .filter(Column::ProjectKey.is_in(keys.iter().cloned()))
        .filter(Column::GroupName.is_in(viewer.groups.iter().cloned()))
        .all(db)
        .await?;
    for row in rows {
        let granted = ProjectRights::granted(row.can_read, row.can_write, row.can_deploy, row.can_admin);
        let all: &mut ProjectRights = rights.entry(row.project_key).or_default();
        *all = all.or(granted);
    }
    Ok(rights)
}

/// The viewer's rights on one published project.
///
/// # Errors
/// The database's.
pub async fn project_rights_on<C: ConnectionTrait>(db: &C, viewer: &Viewer, key: &str) -> Result<ProjectRights> {
    let rights = project_rights(db, viewer, &[key.to_owned()]).await?;
    Ok(rights.get(key).copied().unwrap_or_default())
}

/// A condition on a column that holds keys of published projects: those on which the viewer has this right.
pub fn projects_where(viewer: &Viewer, column: impl ColumnTrait, right: Right) -> Condition {
    use published_project_permission::{Column, Entity};
    if viewer.is_admin() {
        return Condition::all();
    }
    let implied: &[Column] = match right {
        Right::Read => &[Column::CanRead, Column::CanWrite, Column::CanDeploy, Column::CanAdmin],
        Right::Write => &[Column::CanWrite, Column::CanAdmin],
        Right::Deploy => &[Column::CanDeploy, Column::CanAdmin],
        Right::Admin => &[Column::CanAdmin],
    };
    let any = implied.iter().fold(Condition::any(), |any, flag| any.add(flag.eq(true)));
    let permitted = Query::select()
        .column(Column::ProjectKey)
        .from(Entity)
        .and_where(Column::GroupName.is_in(viewer.groups.iter().cloned()))
        .cond_where(any)
        .to_owned();
    let owned = Query::select()
        .column(published_project::Column::Key)
        .from(published_project::Entity)
        .and_where(published_project::Column::Owner.eq(&viewer.login))
        .to_owned();
    Condition::any().add(column.in_subquery(permitted)).add(column.in_subquery(owned))
}

/// The published project, if the viewer has this right on it.
///
/// # Errors
/// `NOT_FOUND` on `field` when it is absent or hidden, `FORBIDDEN` when it is visible and the right is missing.
pub async fn require_published_project<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    key: &str,
    right: Right,
    field: &str,
) -> Result<published_project::Model> {
    if !text::storable(key) {
        return Err(Error::not_found(field));
    }
    let rights = project_rights_on(db, viewer, key).await?;
    let row = published_project::Entity::find_by_id(key).one(db).await?;
    match row {
        Some(row) if rights.read && rights.has(right) => Ok(row),
        Some(_) if rights.read => {
            Err(Error::forbidden(&format!("the right {} on the {}", right.name(), halves::noun(halves::half_of(key)))))
        }
        _ => Err(Error::not_found(field)),
    }
}

/// A condition on rows of `deployment`: those that the viewer may see, or change.
pub fn deployments_where(viewer: &Viewer, access: Access) -> Condition {
    let (level, right) = access.needs();
    Condition::all()
        .add(infrastructures_where(viewer, deployment::Column::InfrastructureId, level))
        .add(projects_where(viewer, deployment::Column::ProjectKey, right))
}

/// The viewer's rights on these deployments, by id. At most three queries.
///
/// # Errors
/// The database's.
pub async fn deployment_rights<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    rows: &[deployment::Model],
) -> Result<BTreeMap<String, DeploymentRights>> {
    let infrastructures: Vec<_> = rows.iter().map(|row| row.infrastructure_id.clone()).collect();
    let projects: Vec<_> = rows.iter().map(|row| row.project_key.clone()).collect();
    let levels = infrastructure_levels(db, viewer, &infrastructures).await?;
    let rights = project_rights(db, viewer, &projects).await?;
    let both = |row: &deployment::Model| DeploymentRights {
        infrastructure: levels.get(&row.infrastructure_id).copied().unwrap_or_default(),
        project: rights.get(&row.project_key).copied().unwrap_or_default(),
    };
    Ok(rows.iter().map(|row| (row.id.clone(), both(row))).collect())
}

/// The deployment, if the viewer may see or change it.
///
/// # Errors
/// `NOT_FOUND` on `field` when it is absent or hidden, `FORBIDDEN` when it is visible and a right is missing.
pub async fn require_deployment<C: ConnectionTrait>(
    db: &C,
    viewer: &Viewer,
    id: &str,
    access: Access,
    field: &str,
) -> Result<deployment::Model> {
    if !text::storable(id) {
        return Err(Error::not_found(field));
    }
    let Some(row) = deployment::Entity::find_by_id(id).one(db).await? else {
        return Err(Error::not_found(field));
    };
    let rights = deployment_rights(db, viewer, std::slice::from_ref(&row)).await?;
    let rights = rights.get(id).copied().unwrap_or_default();
    if !rights.may(Access::See) {
        return Err(Error::not_found(field));
    }
    if rights.may(access) {
        Ok(row)
    } else {
        let noun = halves::noun(halves::half_of(&row.project_key));
        Err(Error::forbidden(&format!("the right Deploy on the infrastructure and on the {noun}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [Level; 4] = [Level::None, Level::View, Level::Deploy, Level::Admin];

    fn flags() -> impl Iterator<Item = [bool; 4]> {
        (0..16u8).map(|bits| [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0, bits & 8 != 0])
    }

    fn granted([r, w, d, a]: [bool; 4]) -> ProjectRights {
        ProjectRights::granted(r, w, d, a)
    }

    #[test]
    fn levels_survive_their_row_and_grow() {
        for pair in LEVELS.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_row() < pair[1].to_row());
        }
        for level in LEVELS {
            assert_eq!(Level::from_row(level.to_row()), level);
        }
        for unknown in [-1, 4, i32::MAX, i32::MIN] {
            assert_eq!(Level::from_row(unknown), Level::None);
        }
    }

    #[test]
    fn any_right_contains_read_and_admin_contains_all() {
        for given in flags() {
            let rights = granted(given);
            assert_eq!(rights.read, given.iter().any(|flag| *flag), "{given:?}");
            assert!(!rights.admin || rights == ProjectRights::ALL, "{given:?}");
            assert_eq!(rights.write, given[1] || given[3]);
            assert_eq!(rights.deploy, given[2] || given[3]);
        }
    }

    #[test]
    fn two_groups_have_what_either_has() {
        for a in flags() {
            for b in flags() {
                let either = [a[0] || b[0], a[1] || b[1], a[2] || b[2], a[3] || b[3]];
                assert_eq!(granted(a).or(granted(b)), granted(either));
            }
        }
    }

    #[test]
    fn a_deployment_needs_both_sides() {
        for infrastructure in LEVELS {
            for given in flags() {
                let rights = DeploymentRights { infrastructure, project: granted(given) };
                assert_eq!(rights.may(Access::See), infrastructure >= Level::View && rights.project.read);
                assert_eq!(rights.may(Access::Change), infrastructure >= Level::Deploy && rights.project.deploy);
                assert!(!rights.may(Access::Change) || rights.may(Access::See));
            }
        }
    }
}
