//! Groups: what rights are given to.

use std::collections::BTreeMap;

use entities::user_group;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{changes, users::contains};
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    paging::{Listing, Page},
    rights, text,
    viewer::Viewer,
};

/// A group, as everybody who is signed in sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Its members may publish API services.
    pub may_publish_services: bool,
}

impl From<user_group::Model> for Group {
    fn from(row: user_group::Model) -> Self {
        Self {
            name: row.name,
            description: row.description,
            created_at: row.created_at,
            may_publish_services: row.may_publish_services,
        }
    }
}

/// A page of groups, by name; `text` is part of the name.
///
/// # Errors
/// The database's.
pub async fn list(deployer: &Deployer, _: &Viewer, text: Option<&str>, page: &Page) -> Result<Listing<Group>> {
    let mut select = user_group::Entity::find();
    if let Some(text) = text {
        select = select.filter(contains(user_group::Column::Name, text));
    }
    if let Some(after) = &page.after {
        select = select.filter(user_group::Column::Name.gt(after));
    }
    let rows = select.order_by_asc(user_group::Column::Name).limit(page.limit()).all(deployer.db.pool()).await?;
    Ok(page.listing(rows, |row| row.name.clone()).map(Group::from))
}

/// How many groups have this text in their name.
///
/// # Errors
/// The database's.
pub async fn count(deployer: &Deployer, _: &Viewer, text: Option<&str>) -> Result<u64> {
    let select = user_group::Entity::find();
    let select = match text {
        Some(text) => select.filter(contains(user_group::Column::Name, text)),
        None => select,
    };
    Ok(select.count(deployer.db.pool()).await?)
}

/// Groups by name, for loaders; those that there are.
///
/// # Errors
/// The database's.
pub async fn by_names(deployer: &Deployer, _: &Viewer, names: &[String]) -> Result<BTreeMap<String, Group>> {
    let names = names.iter().filter(|name| text::storable(name)).cloned();
    let rows = user_group::Entity::find().filter(user_group::Column::Name.is_in(names)).all(deployer.db.pool()).await?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), row.into())).collect())
}

/// Makes a group. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `ID_INVALID`, `TEXT_INVALID`, `ID_NOT_AVAILABLE`.
pub async fn create(deployer: &Deployer, viewer: &Viewer, name: &str, description: &str) -> Result<Group> {
    let act = act(deployer, viewer, "createGroup", name);
    act.once(create_once(deployer, viewer, name, description, &act)).await
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, name: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::Group, name))
}

async fn create_once(
    deployer: &Deployer,
    viewer: &Viewer,
    name: &str,
    description: &str,
    act: &Act<'_>,
) -> Result<Group> {
    rights::require_global_admin(viewer)?;
    let tx = deployer.db.begin().await?;
    changes::insert_group(&tx, name, description).await?;
    act.commit(tx).await?;
    read_back(deployer, viewer, name).await
}

/// Describes a group. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `TEXT_INVALID`.
pub async fn describe(deployer: &Deployer, viewer: &Viewer, name: &str, description: &str) -> Result<Group> {
    let act = act(deployer, viewer, "describeGroup", name);
    act.once(describe_once(deployer, viewer, name, description, &act)).await
}

async fn describe_once(
    deployer: &Deployer,
    viewer: &Viewer,
    name: &str,
    description: &str,
    act: &Act<'_>,
) -> Result<Group> {
    rights::require_global_admin(viewer)?;
    let mut problems = Problems::default();
    text::lines(description, text::DESCRIPTION, "description", &mut problems);
    problems.check()?;
    if !text::storable(name) {
        return Err(Error::not_found("name"));
    }
    let tx = deployer.db.begin().await?;
    if !tx.lock("user_group", "name = $1", name).await? {
        return Err(Error::not_found("name"));
    }
    act.before(&tx).await?;
    user_group::Entity::update_many()
        .col_expr(user_group::Column::Description, description.into())
        .filter(user_group::Column::Name.eq(name))
        .exec(&*tx)
        .await?;
    act.commit(tx).await?;
    read_back(deployer, viewer, name).await
}

/// Lets the members of a group publish API services, or not. Global administrators alone, who may always.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`.
pub async fn set_may_publish_services(deployer: &Deployer, viewer: &Viewer, name: &str, may: bool) -> Result<Group> {
    let act = act(deployer, viewer, "setGroupRights", name);
    act.once(set_rights_once(deployer, viewer, name, may, &act)).await
}

async fn set_rights_once(deployer: &Deployer, viewer: &Viewer, name: &str, may: bool, act: &Act<'_>) -> Result<Group> {
    rights::require_global_admin(viewer)?;
    let tx = deployer.db.begin().await?;
    if !text::storable(name) || !tx.lock("user_group", "name = $1", name).await? {
        return Err(Error::not_found("name"));
    }
    act.before(&tx).await?;
    user_group::Entity::update_many()
        .col_expr(user_group::Column::MayPublishServices, may.into())
        .filter(user_group::Column::Name.eq(name))
        .exec(&*tx)
        .await?;
    act.commit(tx).await?;
    read_back(deployer, viewer, name).await
}

/// Deletes a group, its memberships and all rights given to it. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `LAST_ADMINISTRATOR` for the group `administrators`.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, name: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deleteGroup", name);
    act.run(|| delete_once(deployer, viewer, name, act)).await
}

async fn delete_once(deployer: &Deployer, viewer: &Viewer, name: &str, act: &Act<'_>) -> Result<()> {
    rights::require_global_admin(viewer)?;
    let tx = deployer.db.begin().await?;
    if !text::storable(name) || user_group::Entity::find_by_id(name).one(&*tx).await?.is_none() {
        return Err(Error::not_found("name"));
    }
    act.before(&tx).await?;
    changes::delete_group(&tx, name, act).await?;
    act.commit(tx).await
}

async fn read_back(deployer: &Deployer, viewer: &Viewer, name: &str) -> Result<Group> {
    let mut found = by_names(deployer, viewer, &[name.to_owned()]).await?;
    found.remove(name).ok_or_else(|| Error::not_found("name"))
}
