//! The first administrator, and what an operator does straight on the database: the first steps, and emergencies.
//!
//! Nobody is signed in here. Whoever holds the database could write these rows by hand; [`Operator`] marks the calls that rest on that.

use std::collections::BTreeSet;

use engine::{
    db::{Db, Tx},
    secrets::{ApiKey, Secret},
};
use entities::{account, user_group};
use sea_orm::{ActiveValue::Set, EntityTrait};

use crate::{
    accounts::{administrators, changes},
    error::{Error, Result},
    keys::{self, Key},
    text,
    viewer::ADMINISTRATORS,
};

/// The login of the first administrator.
pub const FIRST_LOGIN: &str = "admin";

/// The right of whoever holds the database itself. Only the command line makes one.
#[derive(Clone, Copy, Debug)]
pub struct Operator(());

impl Operator {
    /// States that the caller works on the database directly, not for somebody who asked over the network.
    pub fn at_the_database() -> Self {
        Self(())
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
    changes::insert_user(&tx, FIRST_LOGIN, "Administrator", None, &BTreeSet::from([ADMINISTRATORS.to_owned()]))
        .await?;
    let (_, key) = keys::insert_in(&tx, FIRST_LOGIN, "first administrator", None, None, given, keys::About::default()).await?;
    tx.commit().await?;
    Ok(Some(key))
}

async fn ensure_administrators(tx: &Tx) -> Result<()> {
    let row = user_group::ActiveModel {
        name: Set(ADMINISTRATORS.to_owned()),
        description: Set("Global administrators: every right on everything.".to_owned()),
        created_at: Set(tx.now().await?),
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
    _: Operator,
    login: &str,
    display_name: Option<&str>,
    groups: &BTreeSet<String>,
) -> Result<()> {
    let tx = db.begin().await?;
    ensure_administrators(&tx).await?;
    changes::insert_user(&tx, login, display_name.unwrap_or(login), None, groups).await?;
    Ok(tx.commit().await?)
}

/// Enables or disables a user.
///
/// # Errors
/// `NOT_FOUND`, `LAST_ADMINISTRATOR`.
pub async fn set_user_enabled(db: &Db, _: Operator, login: &str, enabled: bool) -> Result<()> {
    let tx = db.begin().await?;
    require_account(&tx, login).await?;
    changes::set_enabled(&tx, login, enabled).await?;
    Ok(tx.commit().await?)
}

/// Deletes a user with its keys and memberships.
///
/// # Errors
/// `NOT_FOUND`, `LAST_ADMINISTRATOR`, `IN_USE`.
pub async fn delete_user(db: &Db, _: Operator, login: &str) -> Result<()> {
    let tx = db.begin().await?;
    require_account(&tx, login).await?;
    changes::delete_user(&tx, login).await?;
    Ok(tx.commit().await?)
}

/// Makes a key for an enabled user; the second part of the answer is shown once.
///
/// # Errors
/// `NOT_FOUND`, `TEXT_INVALID`, `EXPIRY_INVALID`, `TOO_MANY_KEYS`.
pub async fn create_key(
    db: &Db,
    _: Operator,
    login: &str,
    label: &str,
    expires_at: Option<i64>,
) -> Result<(Key, ApiKey)> {
    keys::insert(db, login, label, expires_at, None).await
}

/// Makes a group.
///
/// # Errors
/// `ID_INVALID`, `TEXT_INVALID`, `ID_NOT_AVAILABLE`.
pub async fn create_group(db: &Db, _: Operator, name: &str, description: &str) -> Result<()> {
    let tx = db.begin().await?;
    changes::insert_group(&tx, name, description).await?;
    Ok(tx.commit().await?)
}

/// Deletes a group, its memberships and all rights given to it.
///
/// # Errors
/// `NOT_FOUND`, `LAST_ADMINISTRATOR` for the group `administrators`.
pub async fn delete_group(db: &Db, _: Operator, name: &str) -> Result<()> {
    let tx = db.begin().await?;
    if !text::storable(name) || user_group::Entity::find_by_id(name).one(&*tx).await?.is_none() {
        return Err(Error::not_found("name"));
    }
    changes::delete_group(&tx, name).await?;
    Ok(tx.commit().await?)
}

/// Puts a user into a group; repeating it is harmless.
///
/// # Errors
/// `NOT_FOUND` for the user, `GROUP_UNKNOWN`.
pub async fn add_to_group(db: &Db, _: Operator, login: &str, group: &str) -> Result<()> {
    let tx = db.begin().await?;
    ensure_administrators(&tx).await?;
    require_account(&tx, login).await?;
    changes::join(&tx, login, group).await?;
    Ok(tx.commit().await?)
}

/// Takes a user out of a group; repeating it is harmless.
///
/// # Errors
/// `NOT_FOUND` for the user, `LAST_ADMINISTRATOR`, `GROUP_UNKNOWN`.
pub async fn remove_from_group(db: &Db, _: Operator, login: &str, group: &str) -> Result<()> {
    let tx = db.begin().await?;
    require_account(&tx, login).await?;
    if !text::storable(group) || user_group::Entity::find_by_id(group).one(&*tx).await?.is_none() {
        return Err(Error::field("GROUP_UNKNOWN", "group", "There is no such group."));
    }
    changes::leave(&tx, login, group).await?;
    Ok(tx.commit().await?)
}
