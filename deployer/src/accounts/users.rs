//! Users.

use std::collections::{BTreeMap, BTreeSet};

use entities::{account, membership};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait as _, Func, LikeExpr, Query},
};

use super::{administrators::Guard, changes};
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    keys,
    paging::{Listing, Page},
    rights, text,
    viewer::Viewer,
};

/// Whose an account is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// A person's.
    #[default]
    Personal,
    /// A machine's, such as a CI orchestrator's. Only global administrators make keys for it: a key of it that leaked makes no others.
    Technical,
}

impl AccountKind {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "PERSONAL",
            Self::Technical => "TECHNICAL",
        }
    }

    /// As the table keeps it; what a later version wrote is a person's here.
    pub(crate) fn of(text: &str) -> Self {
        if text == Self::Technical.as_str() { Self::Technical } else { Self::Personal }
    }
}

/// A user, as everybody who is signed in sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Unique.
    pub login: String,
    /// What people read.
    pub display_name: String,
    /// Whose it is.
    pub kind: AccountKind,
    /// A disabled user is nobody.
    pub enabled: bool,
    /// Names of its groups.
    pub groups: BTreeSet<String>,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// For people; nothing is sent there.
    pub email: Option<String>,
}

/// A user to be made.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    /// Unique, for good.
    pub login: String,
    /// What people read; None is the login.
    pub display_name: Option<String>,
    /// Groups that there are.
    pub groups: BTreeSet<String>,
    /// Whose it is, for good.
    pub kind: AccountKind,
    /// For people; nothing is sent there.
    pub email: Option<String>,
}

/// What to change of a user; None leaves a thing alone.
#[derive(Clone, Debug, Default)]
pub struct UserPatch {
    /// What people read.
    pub display_name: Option<String>,
    /// A disabled user's keys are dead at once, and live again when it is enabled.
    pub enabled: Option<bool>,
    /// Exactly these groups.
    pub groups: Option<BTreeSet<String>>,
    /// For people; `Some(None)` takes it away.
    pub email: Option<Option<String>>,
}

/// Which users.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Part of the login or display name, whatever the case.
    pub text: Option<String>,
    /// Members of this group.
    pub group: Option<String>,
    /// Of this kind.
    pub kind: Option<AccountKind>,
}

impl UserFilter {
    fn condition(&self) -> Condition {
        let mut all = Condition::all();
        if let Some(text) = &self.text {
            let login = contains(account::Column::Login, text);
            all = all.add(Condition::any().add(login).add(contains(account::Column::DisplayName, text)));
        }
        if let Some(group) = &self.group {
            if !text::storable(group) {
                return none();
            }
            let members = Query::select()
                .column(membership::Column::Login)
                .from(membership::Entity)
                .and_where(membership::Column::GroupName.eq(group))
                .to_owned();
            all = all.add(account::Column::Login.in_subquery(members));
        }
        if let Some(kind) = self.kind {
            all = all.add(account::Column::Kind.eq(kind.as_str()));
        }
        all
    }
}

/// A condition that nothing meets.
fn none() -> Condition {
    Condition::any().add(Expr::cust("1 = 0"))
}

/// `column` contains `part`, whatever the case, on both databases. Nothing contains a text that is longer than all that can be stored: databases
/// bound the patterns that they take; nor one with a NUL.
pub(crate) fn contains(column: impl ColumnTrait, part: &str) -> Expr {
    if part.chars().count() > text::LINE || !text::storable(part) {
        return Expr::cust("1 = 0");
    }
    let plain = part.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let lower = Func::lower(Expr::col(column.as_column_ref()));
    Expr::expr(lower).like(LikeExpr::new(format!("%{plain}%")).escape('\\'))
}

/// A page of users, by login.
///
/// # Errors
/// The database's.
pub async fn list(deployer: &Deployer, _: &Viewer, filter: &UserFilter, page: &Page) -> Result<Listing<User>> {
    let db = deployer.db.pool();
    let mut select = account::Entity::find().filter(filter.condition());
    if let Some(after) = &page.after {
        select = select.filter(account::Column::Login.gt(after));
    }
    let rows = select.order_by_asc(account::Column::Login).limit(page.limit()).all(db).await?;
    let users = with_groups(db, rows).await?;
    Ok(page.listing(users, |user| user.login.clone()))
}

/// How many users the filter leaves.
///
/// # Errors
/// The database's.
pub async fn count(deployer: &Deployer, _: &Viewer, filter: &UserFilter) -> Result<u64> {
    Ok(account::Entity::find().filter(filter.condition()).count(deployer.db.pool()).await?)
}

/// One user.
///
/// # Errors
/// The database's.
pub async fn get(deployer: &Deployer, viewer: &Viewer, login: &str) -> Result<Option<User>> {
    Ok(by_logins(deployer, viewer, &[login.to_owned()]).await?.remove(login))
}

/// Users by login, for loaders; those that there are.
///
/// # Errors
/// The database's.
pub async fn by_logins(deployer: &Deployer, _: &Viewer, logins: &[String]) -> Result<BTreeMap<String, User>> {
    let db = deployer.db.pool();
    let logins = logins.iter().filter(|login| text::storable(login)).cloned();
    let rows = account::Entity::find().filter(account::Column::Login.is_in(logins)).all(db).await?;
    let users = with_groups(db, rows).await?;
    Ok(users.into_iter().map(|user| (user.login.clone(), user)).collect())
}

async fn with_groups<C: ConnectionTrait>(db: &C, rows: Vec<account::Model>) -> Result<Vec<User>> {
    let logins = rows.iter().map(|row| row.login.clone());
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in membership::Entity::find().filter(membership::Column::Login.is_in(logins)).all(db).await? {
        groups.entry(row.login).or_default().insert(row.group_name);
    }
    let user = |row: account::Model| User {
        groups: groups.remove(&row.login).unwrap_or_default(),
        login: row.login,
        display_name: row.display_name,
        kind: AccountKind::of(&row.kind),
        enabled: row.enabled,
        created_at: row.created_at,
        email: row.email,
    };
    Ok(rows.into_iter().map(user).collect())
}

/// Makes a user, enabled. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `LOGIN_INVALID`, `TEXT_INVALID`, `ID_NOT_AVAILABLE` when the login is taken, `GROUP_UNKNOWN`.
pub async fn create(deployer: &Deployer, viewer: &Viewer, new: NewUser) -> Result<User> {
    let act = act(deployer, viewer, "createUser", &new.login);
    act.once(create_once(deployer, viewer, &new, &act)).await
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, login: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::User, login))
}

async fn create_once(deployer: &Deployer, viewer: &Viewer, new: &NewUser, act: &Act<'_>) -> Result<User> {
    rights::require_global_admin(viewer)?;
    let tx = deployer.db.begin().await?;
    let display_name = new.display_name.as_deref().unwrap_or(&new.login);
    changes::insert_user(&tx, &new.login, display_name, new.email.as_deref(), &new.groups, new.kind).await?;
    act.commit(tx).await?;
    read_back(deployer, viewer, &new.login).await
}

/// Changes a user. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `TEXT_INVALID`, `GROUP_UNKNOWN`, `LAST_ADMINISTRATOR`.
pub async fn update(deployer: &Deployer, viewer: &Viewer, login: &str, patch: UserPatch) -> Result<User> {
    let act = &act(deployer, viewer, "updateUser", login);
    act.run(|| update_once(deployer, viewer, login, &patch, act)).await
}

async fn update_once(
    deployer: &Deployer,
    viewer: &Viewer,
    login: &str,
    patch: &UserPatch,
    act: &Act<'_>,
) -> Result<User> {
    rights::require_global_admin(viewer)?;
    change(deployer, viewer, login, patch, act).await
}

/// Changes what people read of the viewer: all that users change of themselves.
///
/// # Errors
/// `FORBIDDEN` with a key that was minted for a run's hooks; `TEXT_INVALID`.
pub async fn update_own(
    deployer: &Deployer,
    viewer: &Viewer,
    display_name: Option<String>,
    email: Option<Option<String>>,
) -> Result<User> {
    let patch = &UserPatch { display_name, email, ..UserPatch::default() };
    let act = &act(deployer, viewer, "updateUser", &viewer.login);
    act.run(|| async {
        keys::own_key(deployer, viewer).await?;
        change(deployer, viewer, &viewer.login, patch, act).await
    })
    .await
}

async fn change(deployer: &Deployer, viewer: &Viewer, login: &str, patch: &UserPatch, act: &Act<'_>) -> Result<User> {
    let tx = deployer.db.begin().await?;
    let guard = Guard::take(&tx).await?;
    if !text::storable(login) || account::Entity::find_by_id(login).one(&*tx).await?.is_none() {
        return Err(Error::not_found("login"));
    }
    act.before(&tx).await?;
    if let Some(name) = &patch.display_name {
        let mut problems = Problems::default();
        text::required_line(name, text::LINE, "displayName", &mut problems);
        problems.check()?;
        account::Entity::update_many()
            .col_expr(account::Column::DisplayName, name.into())
            .filter(account::Column::Login.eq(login))
            .exec(&*tx)
            .await?;
    }
    if let Some(email) = &patch.email {
        let mut problems = Problems::default();
        text::line(email.as_deref().unwrap_or_default(), text::LINE, "email", &mut problems);
        problems.check()?;
        account::Entity::update_many()
            .col_expr(account::Column::Email, email.clone().filter(|email| !email.is_empty()).into())
            .filter(account::Column::Login.eq(login))
            .exec(&*tx)
            .await?;
    }
    if let Some(enabled) = patch.enabled {
        changes::set_enabled(&tx, login, enabled).await?;
    }
    if let Some(groups) = &patch.groups {
        changes::put_groups(&tx, login, groups).await?;
    }
    guard.check(&tx).await?;
    act.commit(tx).await?;
    read_back(deployer, viewer, login).await
}

/// Deletes a user with its keys and memberships. Global administrators alone.
///
/// # Errors
/// `FORBIDDEN`, `NOT_FOUND`, `LAST_ADMINISTRATOR`, `IN_USE` while it owns published projects or runs an infrastructure's hooks.
pub async fn delete(deployer: &Deployer, viewer: &Viewer, login: &str) -> Result<()> {
    let act = &act(deployer, viewer, "deleteUser", login);
    act.run(|| delete_once(deployer, viewer, login, act)).await
}

async fn delete_once(deployer: &Deployer, viewer: &Viewer, login: &str, act: &Act<'_>) -> Result<()> {
    rights::require_global_admin(viewer)?;
    let tx = deployer.db.begin().await?;
    if !text::storable(login) || account::Entity::find_by_id(login).one(&*tx).await?.is_none() {
        return Err(Error::not_found("login"));
    }
    act.before(&tx).await?;
    changes::delete_user(&tx, login).await?;
    act.commit(tx).await
}

async fn read_back(deployer: &Deployer, viewer: &Viewer, login: &str) -> Result<User> {
    get(deployer, viewer, login).await?.ok_or_else(|| Error::not_found("login"))
}
