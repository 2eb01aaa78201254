//! Secrets at rest: immutable rows, sealed with the master key. The row's id is the associated data, so a sealed text that was copied into
//! another row does not open there.
//!
//! Nothing outside this crate writes them; workers open one by the reference that a run's spec holds.

use engine::{
    clock,
    db::{Db, Tx},
    secrets::{Keyring, Secret, SecretsError},
};
use entities::secret;
use sea_orm::{ActiveValue::Set, EntityTrait};

use crate::error::{Error, Fault, Result};

/// Seals `plain` into a new row and answers its id, by which specs and settings name it. `owner` says what it belongs to, such as
/// `infrastructure/ID`.
///
/// # Errors
/// The database's, or the keyring's.
pub async fn put(tx: &Tx, keyring: &Keyring, owner: &str, plain: &Secret) -> Result<String> {
    let id = random_id();
    let sealed = keyring.seal(plain.expose(), &id).map_err(fault)?;
    let row = secret::ActiveModel {
        id: Set(id.clone()),
        sealed: Set(sealed),
        owner: Set(owner.to_owned()),
        created_at: Set(tx.now().await?),
    };
    secret::Entity::insert(row).exec_without_returning(&**tx).await?;
    Ok(id)
}

/// Opens the secret of this reference; None when there is no such row. For what acts in the deployer's own name (a check, a worker's step):
/// the caller has the right already, or a run's spec gave it.
///
/// # Errors
/// The database's; a fault that names the row when the master key is missing or the text was changed.
pub async fn open(db: &Db, keyring: &Keyring, reference: &str) -> Result<Option<Secret>> {
    let Some(row) = secret::Entity::find_by_id(reference).one(db.pool()).await? else {
        return Ok(None);
    };
    keyring.open(&row.sealed, &row.id).map(Some).map_err(|error| {
        Error::Fault(Fault { detail: format!("secret {} of {}: {error}", row.id, row.owner), transient: false })
    })
}

/// 128 random bits, hexadecimal: an id that says nothing and that nobody guesses.
pub(crate) fn random_id() -> String {
    format!("{:016x}{:016x}", clock::random_u64(), clock::random_u64())
}

fn fault(error: SecretsError) -> Error {
    Error::fault(format!("{}: {error}", error.code()))
}
