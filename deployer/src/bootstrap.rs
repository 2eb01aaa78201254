//! The first administrator, and what an operator does straight on the database: the first steps, and emergencies.
//!
//! Nobody is signed in here. Whoever holds the database could write these rows by hand; [`Operator`] marks the calls that rest on that.

use std::collections::BTreeSet;

use engine::{
    db::{Db, Tx},
    secrets::{ApiKey, Keyring, Secret},
};
use entities::{account, user_group};
use sea_orm::{ActiveValue::Set, EntityTrait};

use crate::{
    accounts::{administrators, changes, users::AccountKind},
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    keys::{self, Key},
    text,
    viewer::{ADMINISTRATORS, Via},
};

/// The login of the first administrator.
pub const FIRST_LOGIN: &str = "admin";

/// The right of whoever holds the database itself. Only the command line makes one.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    keyring: Option<&'a Keyring>,
}

impl<'a> Operator<'a> {
    /// States that the caller works on the database directly, not for somebody who asked over the network.
    pub fn at_the_database() -> Self {
        Self { keyring: None }
    }

    /// With the master key at hand: what is done is signed in the audit.
    #[must_use]
    pub fn signing(self, keyring: Option<&'a Keyring>) -> Self {
        Self { keyring }
    }

    pub(crate) fn act<'b>(self, db: &'b Db, action: &'static str, object: Object) -> Act<'b>
    where
        'a: 'b,
    {
        Act::unsigned(db, self.keyring, Via::CommandLine, action, object)
    }
}

/// Reads the key that an installation gives its first administrator (`SLIPWAY_ADMIN_KEY`). It must have the form of a key, since the first part finds
/// the row and the rest must not be guessed.
///
/// # Errors
/// `ADMIN_KEY_MALFORMED`; the text is not repeated.
pub fn parse_given_key(text: &Secret) -> Result<ApiKey> {
    ApiKey::parse(text.expose().trim()).ok_or_else(|| {
        Error::refused(
            "ADMIN_KEY_MALFORMED",
            "SLIPWAY_ADMIN_KEY has not the form of a key: slw_, 8 letters or digits, _, and 43 characters of base64url (32 random bytes). \
             Leave it out, and a key is made and shown once.",
        )
    })
}

/// Makes the first administrator with one key, `given` or fresh, when nobody is in the group `administrators` yet. Answers the key only when
/// it was made now: show it once. Safe to call at every start, and from several processes at once.
///
/// # Errors
/// `ADMIN_KEY_MALFORMED` whenever the given key has not the right form; the database's.
pub async fn first_start(db: &Db, given: Option<&Secret>) -> Result<Option<ApiKey>> {
    let given = given.map(parse_given_key).transpose()?;
    let tx = db.begin().await?;
    ensure_administrators(&tx).await?;
    // Another process that starts at the same time waits here, and then finds the member.
    tx.lock("user_group", "name = $1", ADMINISTRATORS).await?;
    if administrators::enabled(&tx).await? > 0 {
        tx.commit().await?;
        return Ok(None);
    }
    if account::Entity::find_by_id(FIRST_LOGIN).one(&*tx).await?.is_some() {
        tx.commit().await?;
        // Somebody made this account for another purpose: it must not become an administrator by itself.
        tracing::warn!(
            "nobody administers this installation: run `slipway admin user create LOGIN --group {ADMINISTRATORS}`"
        );
        return Ok(None);
    }
    let groups = BTreeSet::from([ADMINISTRATORS.to_owned()]);
    changes::insert_user(&tx, FIRST_LOGIN, "Administrator", None, &groups, AccountKind::Personal).await?;
    let about = keys::About::default();
    let (_, key) = keys::insert_in(&tx, FIRST_LOGIN, "first administrator", None, None, given, about).await?;
    let operator = Operator::at_the_database();
    operator.act(db, "createUser", user(FIRST_LOGIN)).commit(tx).await?;
    Ok(Some(key))
}

fn user(login: &str) -> Object {
    Object::new(ObjectKind::User, login)
}

fn group(name: &str) -> Object {
    Object::new(ObjectKind::Group, name)
}

async fn ensure_administrators(tx: &Tx) -> Result<()> {
    let row = user_group::ActiveModel {
        name: Set(ADMINISTRATORS.to_owned()),
        description: Set("Global administrators: every right on everything.".to_owned()),
        created_at: Set(tx.now().await?),
        may_publish_services: Set(false),
    };
    user_group::Entity::insert(row).on_conflict_do_nothing().exec_without_returning(&**tx).await?;
    Ok(())
}

async fn require_account(tx: &Tx, login: &str) -> Result<()> {
    if text::storable(login) && account::Entity::find_by_id(login).one(&**tx).await?.is_some() {
        Ok(())
    } else {
        Err(Error::not_found("login"))
    }
}

/// Makes a user in groups that there are; `administrators` always is.
///
/// # Errors
/// `LOGIN_INVALID`, `TEXT_INVALID`, `ID_NOT_AVAILABLE`, `GROUP_UNKNOWN`.
pub async fn create_user(
    db: &Db,
    operator: Operator<'_>,
    login: &str,
    display_name: Option<&str>,
    groups: &BTreeSet<String>,
    kind: AccountKind,
) -> Result<()> {
    let act = &operator.act(db, "createUser", user(login));
    let work = async {
        let tx = db.begin().await?;
        ensure_administrators(&tx).await?;
        changes::insert_user(&tx, login, display_name.unwrap_or(login), None, groups, kind).await?;
        act.commit(tx).await
    };
    act.once(work).await
}

/// Enables or disables a user.
///
/// # Errors
/// `NOT_FOUND`, `LAST_ADMINISTRATOR`.
pub async fn set_user_enabled(db: &Db, operator: Operator<'_>, login: &str, enabled: bool) -> Result<()> {
    let act = &operator.act(db, "updateUser", user(login));
    let work = async {
        let tx = db.begin().await?;
        require_account(&tx, login).await?;
        act.before(&tx).await?;
        changes::set_enabled(&tx, login, enabled).await?;
        act.commit(tx).await
    };
    act.once(work).await
}

/// Deletes a user with its keys and memberships.
///
/// # Errors
/// `NOT_FOUND`, `LAST_ADMINISTRATOR`, `IN_USE`.
pub async fn delete_user(db: &Db, operator: Operator<'_>, login: &str) -> Result<()> {
    let act = &operator.act(db, "deleteUser", user(login));
    let work = async {
        let tx = db.begin().await?;
        require_account(&tx, login).await?;
        act.before(&tx).await?;
        changes::delete_user(&tx, login).await?;
        act.commit(tx).await
    };
    act.once(work).await
}

/// Makes a key for an enabled user; the second part of the answer is shown once.
///
/// # Errors
/// `NOT_FOUND`, `TEXT_INVALID`, `EXPIRY_INVALID`, `TOO_MANY_KEYS`.
pub async fn create_key(
    db: &Db,
    operator: Operator<'_>,
    login: &str,
    label: &str,
    expires_at: Option<i64>,
) -> Result<(Key, ApiKey)> {
    let act = operator.act(db, "createApiKey", user(login));
    act.once(keys::insert(db, login, label, expires_at, None, keys::About::default(), &act)).await
}

/// Makes a group.
///
/// # Errors
/// `ID_INVALID`, `TEXT_INVALID`, `ID_NOT_AVAILABLE`.
pub async fn create_group(db: &Db, operator: Operator<'_>, name: &str, description: &str) -> Result<()> {
    let act = &operator.act(db, "createGroup", group(name));
    let work = async {
        let tx = db.begin().await?;
        changes::insert_group(&tx, name, description).await?;
        act.commit(tx).await
    };
    act.once(work).await
}

/// Deletes a group, its memberships and all rights given to it.
///
/// # Errors
/// `NOT_FOUND`, `LAST_ADMINISTRATOR` for the group `administrators`.
pub async fn delete_group(db: &Db, operator: Operator<'_>, name: &str) -> Result<()> {
    let act = &operator.act(db, "deleteGroup", group(name));
    let work = async {
        let tx = db.begin().await?;
        if !text::storable(name) || user_group::Entity::find_by_id(name).one(&*tx).await?.is_none() {
            return Err(Error::not_found("name"));
        }
        act.before(&tx).await?;
        changes::delete_group(&tx, name, act).await?;
        act.commit(tx).await
    };
    act.once(work).await
}

/// Puts a user into a group; repeating it is harmless.
///
/// # Errors
/// `NOT_FOUND` for the user, `GROUP_UNKNOWN`.
pub async fn add_to_group(db: &Db, operator: Operator<'_>, login: &str, group: &str) -> Result<()> {
    let act = &operator.act(db, "addToGroup", user(login));
    let work = async {
        let tx = db.begin().await?;
        ensure_administrators(&tx).await?;
        require_account(&tx, login).await?;
        act.before(&tx).await?;
        changes::join(&tx, login, group).await?;
        act.commit(tx).await
    };
    act.once(work).await
}

/// Takes a user out of a group; repeating it is harmless.
///
/// # Errors
/// `NOT_FOUND` for the user, `LAST_ADMINISTRATOR`, `GROUP_UNKNOWN`.
pub async fn remove_from_group(db: &Db, operator: Operator<'_>, login: &str, group: &str) -> Result<()> {
    let act = &operator.act(db, "removeFromGroup", user(login));
    let work = async {
        let tx = db.begin().await?;
        require_account(&tx, login).await?;
        act.before(&tx).await?;
        if !text::storable(group) || user_group::Entity::find_by_id(group).one(&*tx).await?.is_none() {
            return Err(Error::field("GROUP_UNKNOWN", "group", "There is no such group."));
        }
        changes::leave(&tx, login, group).await?;
        act.commit(tx).await
    };
    act.once(work).await
}
