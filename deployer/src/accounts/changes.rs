//! The writes of accounts and groups. No viewer here: the callers have asked for the right.

use std::collections::BTreeSet;

use engine::{db::Tx, secrets::NodeTokenKind};
use entities::{
    account, api_key, connection, connection_permission, deployment, idempotency_key, infrastructure,
    infrastructure_permission, membership, published_project,
};
use entities::{node_enrolment, published_project_permission, user_group};
use sea_orm::{
    ActiveModelTrait as _,
    ActiveValue::Set,
    ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder as _, TryInsertResult,
    sea_query::{Expr, ExprTrait as _},
};

use super::{administrators::Guard, users::AccountKind};
use crate::{
    audit::{Object, ObjectKind, act::Act},
    deployments::write::counted,
    error::{Error, Problems, Result},
    infrastructures::Settings,
    names, text, versions,
    viewer::ADMINISTRATORS,
};

/// More groups than anybody is in.
const MOST_GROUPS: usize = 500;

/// Whether one row went in.
pub(crate) fn inserted(result: &TryInsertResult<u64>) -> bool {
    matches!(result, TryInsertResult::Inserted(1))
}

/// Adds an account, enabled, with its groups.
pub(crate) async fn insert_user(
    tx: &Tx,
    login: &str,
    display_name: &str,
    email: Option<&str>,
    groups: &BTreeSet<String>,
    kind: AccountKind,
) -> Result<()> {
    let mut problems = Problems::default();
    text::own_login(login, "login", &mut problems);
    if login.starts_with('(') {
        // The audit calls who is no user so.
        problems.add("LOGIN_INVALID", "login", "A login must not begin with a bracket.");
    }
    text::required_line(display_name, text::LINE, "displayName", &mut problems);
    text::line(email.unwrap_or_default(), text::LINE, "email", &mut problems);
    problems.check()?;
    let row = account::ActiveModel {
        login: Set(login.to_owned()),
        display_name: Set(display_name.to_owned()),
        enabled: Set(true),
        created_at: Set(tx.now().await?),
        kind: Set(kind.as_str().to_owned()),
        email: Set(email.filter(|email| !email.is_empty()).map(ToOwned::to_owned)),
    };
    let result = account::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&**tx).await?;
    if !inserted(&result) {
        return Err(Error::id_not_available("login"));
    }
    put_groups(tx, login, groups).await
}

/// Puts a user into exactly these groups.
pub(crate) async fn put_groups(tx: &Tx, login: &str, groups: &BTreeSet<String>) -> Result<()> {
    if groups.len() > MOST_GROUPS {
        return Err(Error::field("TEXT_INVALID", "groups", format!("At most {MOST_GROUPS} groups.")));
    }
    lock_groups(tx, groups, "groups").await?;
    membership::Entity::delete_many().filter(membership::Column::Login.eq(login)).exec(&**tx).await?;
    let rows: Vec<_> = groups
        .iter()
        .map(|group| membership::ActiveModel { login: Set(login.to_owned()), group_name: Set(group.clone()) })
        .collect();
    if !rows.is_empty() {
        membership::Entity::insert_many(rows).exec_without_returning(&**tx).await?;
    }
    Ok(())
}

/// Locks groups until the end of the transaction, so that none vanishes under a row that names it; always in the same order, that of
/// `administrators` first.
///
/// # Errors
/// `GROUP_UNKNOWN` for each that there is not.
pub(crate) async fn lock_groups(tx: &Tx, groups: &BTreeSet<String>, field: &str) -> Result<()> {
    let mut problems = Problems::default();
    let first = groups.iter().filter(|group| *group == ADMINISTRATORS);
    for group in first.chain(groups.iter().filter(|group| *group != ADMINISTRATORS)) {
        let known = text::storable(group) && tx.lock("user_group", "name = $1", group.as_str()).await?;
        if !known {
            problems.add("GROUP_UNKNOWN", field, format!("There is no group \"{}\".", group.escape_debug()));
        }
    }
    problems.check()
}

/// Locks `administrators` if it is among these groups. Who is about to lock an account and groups begins with it: the order of all these
/// transactions is administrators, accounts, other groups.
pub(crate) async fn lock_administrators(tx: &Tx, groups: &BTreeSet<String>) -> Result<()> {
    if groups.contains(ADMINISTRATORS) {
        tx.lock("user_group", "name = $1", ADMINISTRATORS).await?;
    }
    Ok(())
}

/// Enables or disables a user, keeping one administrator.
pub(crate) async fn set_enabled(tx: &Tx, login: &str, enabled: bool) -> Result<()> {
    let guard = Guard::take(tx).await?;
    account::Entity::update_many()
        .col_expr(account::Column::Enabled, enabled.into())
        .filter(account::Column::Login.eq(login))
        .exec(&**tx)
        .await?;
    guard.check(tx).await
}

/// Removes a user with its keys and memberships, keeping one administrator. Refused while it owns something: somebody who later gets the same
/// login must not inherit that.
pub(crate) async fn delete_user(tx: &Tx, login: &str) -> Result<()> {
    let guard = Guard::take(tx).await?;
    // Whoever makes a key for this user holds the row, too: none is made after they were deleted here.
    tx.lock("account", "login = $1", login).await?;
    let owned =
        published_project::Entity::find().filter(published_project::Column::Owner.eq(login)).count(&**tx).await?;
    if owned > 0 {
        return Err(Error::field(
            "IN_USE",
            "login",
            format!(
                "This user owns {owned} published projects or services. Give them another owner first, or disable the user."
            ),
        ));
    }
    for row in infrastructure::Entity::find().all(&**tx).await? {
        if Settings::read(&row.settings)?.hooks_user.as_deref() == Some(login) {
            return Err(Error::field(
                "IN_USE",
                "login",
                format!("This user runs the hooks of infrastructure \"{}\". Choose another there first.", row.id),
            ));
        }
    }
    api_key::Entity::delete_many().filter(api_key::Column::Login.eq(login)).exec(&**tx).await?;
    node_enrolment::Entity::delete_many()
        .filter(node_enrolment::Column::Kind.eq(NodeTokenKind::Enrolment.as_str()))
        .filter(node_enrolment::Column::CreatedBy.eq(login))
        .exec(&**tx)
        .await?;
    // Somebody who gets the same login later must not be answered with what this one asked for.
    idempotency_key::Entity::delete_many().filter(idempotency_key::Column::Login.eq(login)).exec(&**tx).await?;
    membership::Entity::delete_many().filter(membership::Column::Login.eq(login)).exec(&**tx).await?;
    account::Entity::delete_many().filter(account::Column::Login.eq(login)).exec(&**tx).await?;
    guard.check(tx).await
}

/// Adds a group.
pub(crate) async fn insert_group(tx: &Tx, name: &str, description: &str) -> Result<()> {
    let mut problems = Problems::default();
    names::check(name, "name", &mut problems);
    text::lines(description, text::DESCRIPTION, "description", &mut problems);
    problems.check()?;
    let row = user_group::ActiveModel {
        name: Set(name.to_owned()),
        description: Set(description.to_owned()),
        created_at: Set(tx.now().await?),
        may_publish_services: Set(false),
    };
    let result = user_group::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&**tx).await?;
    if inserted(&result) { Ok(()) } else { Err(Error::id_not_available("name")) }
}

/// Removes a group with its memberships and all rights given to it: a later group of the same name starts with none. That is a change of each infrastructure and
/// published project on which it had rights, with a record of its own.
pub(crate) async fn delete_group(tx: &Tx, name: &str, act: &Act<'_>) -> Result<()> {
    if name == ADMINISTRATORS {
        return Err(Error::field("LAST_ADMINISTRATOR", "name", "The group administrators can't be deleted."));
    }
    let (infrastructures, projects) = given_to(tx, name).await?;
    let connections = connections_of(tx, name).await?;
    let asking = asking(tx, name).await?;
    for row in &asking {
        tx.lock("deployment", "id = $1", row.id.as_str()).await?;
    }
    for id in &connections {
        tx.lock("connection", "id = $1", id.as_str()).await?;
    }
    for id in &infrastructures {
        tx.lock("infrastructure", "id = $1", id.as_str()).await?;
    }
    for key in &projects {
        tx.lock("published_project", "key = $1", key.as_str()).await?;
    }
    tx.lock("user_group", "name = $1", name).await?;
    let same = given_to(tx, name).await? == (infrastructures.clone(), projects.clone());
    let locked = self::asking(tx, name).await?;
    let ids = |rows: &[deployment::Model]| rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    if !same || connections_of(tx, name).await? != connections || ids(&locked) != ids(&asking) {
        return Err(Error::conflict("a group got or lost rights while it was to be deleted"));
    }
    let (now, by) = (tx.now().await?, act.login());
    for row in locked {
        act.along(tx, Object::new(ObjectKind::Deployment, &row.id)).await?;
        let mut settings = crate::deployments::Settings::read(&row.settings)?;
        if let Some(api) = &mut settings.api {
            api.query_groups.retain(|group| group != name);
        }
        let mut row = counted(row, by, now);
        row.settings = Set(serde_json::to_string(&settings)?);
        row.update(&**tx).await?;
    }
    for id in &infrastructures {
        act.along(tx, Object::new(ObjectKind::Infrastructure, id)).await?;
    }
    for key in &projects {
        act.along(tx, Object::published(key)).await?;
    }
    for id in &connections {
        act.along(tx, Object::new(ObjectKind::Connection, id)).await?;
    }
    connection::Entity::update_many()
        .col_expr(connection::Column::Version, Expr::col(connection::Column::Version).add(1))
        .col_expr(connection::Column::UpdatedAt, now.into())
        .col_expr(connection::Column::UpdatedBy, by.into())
        .filter(connection::Column::Id.is_in(connections))
        .exec(&**tx)
        .await?;
    connection_permission::Entity::delete_many()
        .filter(connection_permission::Column::GroupName.eq(name))
        .exec(&**tx)
        .await?;
    infrastructure::Entity::update_many()
        .col_expr(
            infrastructure::Column::OtherVersion,
            versions::other_of(
                infrastructure::Column::UpdatedBy,
                (infrastructure::Column::Version, infrastructure::Column::OtherVersion),
                by,
            ),
        )
        .col_expr(infrastructure::Column::Version, Expr::col(infrastructure::Column::Version).add(1))
        .col_expr(infrastructure::Column::UpdatedAt, now.into())
        .col_expr(infrastructure::Column::UpdatedBy, by.into())
        .filter(infrastructure::Column::Id.is_in(infrastructures))
        .exec(&**tx)
        .await?;
    published_project::Entity::update_many()
        .col_expr(
            published_project::Column::OtherVersion,
            versions::other_of(
                published_project::Column::UpdatedBy,
                (published_project::Column::Version, published_project::Column::OtherVersion),
                by,
            ),
        )
        .col_expr(published_project::Column::Version, Expr::col(published_project::Column::Version).add(1))
        .col_expr(published_project::Column::UpdatedBy, by.into())
        .filter(published_project::Column::Key.is_in(projects))
        .exec(&**tx)
        .await?;
    membership::Entity::delete_many().filter(membership::Column::GroupName.eq(name)).exec(&**tx).await?;
    infrastructure_permission::Entity::delete_many()
        .filter(infrastructure_permission::Column::GroupName.eq(name))
        .exec(&**tx)
        .await?;
    published_project_permission::Entity::delete_many()
        .filter(published_project_permission::Column::GroupName.eq(name))
        .exec(&**tx)
        .await?;
    user_group::Entity::delete_many().filter(user_group::Column::Name.eq(name)).exec(&**tx).await?;
    Ok(())
}

/// On which connections a group has rights.
async fn connections_of(tx: &Tx, group: &str) -> Result<BTreeSet<String>> {
    let rows = connection_permission::Entity::find()
        .filter(connection_permission::Column::GroupName.eq(group))
        .all(&**tx)
        .await?;
    Ok(rows.into_iter().map(|row| row.connection_id).collect())
}

/// The deployments whose services a group may query through the deployer, by id.
async fn asking(tx: &Tx, group: &str) -> Result<Vec<deployment::Model>> {
    let rows = deployment::Entity::find()
        .filter(deployment::Column::Settings.contains(serde_json::to_string(group)?))
        .order_by_asc(deployment::Column::Id)
        .all(&**tx)
        .await?;
    let mut found = Vec::new();
    for row in rows {
        let api = crate::deployments::Settings::read(&row.settings)?.api;
        if api.is_some_and(|api| api.query_groups.iter().any(|one| one == group)) {
            found.push(row);
        }
    }
    Ok(found)
}

/// On which infrastructures and published projects a group has rights.
async fn given_to(tx: &Tx, group: &str) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let infrastructures = infrastructure_permission::Entity::find()
        .filter(infrastructure_permission::Column::GroupName.eq(group))
        .all(&**tx)
        .await?;
    let projects = published_project_permission::Entity::find()
        .filter(published_project_permission::Column::GroupName.eq(group))
        .all(&**tx)
        .await?;
    let infrastructures = infrastructures.into_iter().map(|row| row.infrastructure_id);
    Ok((infrastructures.collect(), projects.into_iter().map(|row| row.project_key).collect()))
}

/// Puts a user into a group; repeating it is harmless.
pub(crate) async fn join(tx: &Tx, login: &str, group: &str) -> Result<()> {
    // The order of all these transactions: administrators, the account, other groups.
    Guard::take(tx).await?;
    tx.lock("account", "login = $1", login).await?;
    lock_groups(tx, &BTreeSet::from([group.to_owned()]), "group").await?;
    let row = membership::ActiveModel { login: Set(login.to_owned()), group_name: Set(group.to_owned()) };
    membership::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&**tx).await?;
    Ok(())
}

/// Takes a user out of a group, keeping one administrator; repeating it is harmless.
pub(crate) async fn leave(tx: &Tx, login: &str, group: &str) -> Result<()> {
    let guard = Guard::take(tx).await?;
    membership::Entity::delete_many()
        .filter(membership::Column::Login.eq(login).and(membership::Column::GroupName.eq(group)))
        .exec(&**tx)
        .await?;
    guard.check(tx).await
}
