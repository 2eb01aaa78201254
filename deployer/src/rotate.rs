//! `slipway secrets rotate`: seals again, with the active master key, whatever another key sealed. Afterwards the older keys can leave the key
//! file.

use engine::{db::Db, secrets::Keyring};
use entities::{audit_head, secret};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::{audit::chain::KEY_ROW, error::Result};

/// So many rows a transaction: a rotation must not hold up the writer of an embedded database.
const BATCH: u64 = 100;

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Rows that were sealed again.
    pub resealed: u64,
    /// Rows that could not be opened, each with what is wrong. They are as they were: put their key back, or enter those secrets again.
    pub unreadable: Vec<String>,
}

/// Rotates every secret. Safe beside running processes, as long as their key file holds both keys, and safe to repeat.
///
/// # Errors
/// The database's. What was done in batches before stays done.
pub async fn rotate(db: &Db, keyring: &Keyring) -> Result<Rotation> {
    let mut done = Rotation::default();
    rotate_audit_key(db, keyring, &mut done).await?;
    let mut after = String::new();
    loop {
        let tx = db.begin().await?;
        let rows = secret::Entity::find()
            .filter(secret::Column::Id.gt(after.as_str()))
            .order_by_asc(secret::Column::Id)
            .limit(BATCH)
            .all(&*tx)
            .await?;
        let Some(last) = rows.last() else { return Ok(done) };
        after.clone_from(&last.id);
        for row in rows.iter().filter(|row| keyring.needs_rotation(&row.sealed)) {
            let again = keyring.open(&row.sealed, &row.id).and_then(|plain| keyring.seal(plain.expose(), &row.id));
            match again {
                Ok(sealed) => {
                    let changed = secret::Entity::update_many()
                        .col_expr(secret::Column::Sealed, sealed.into())
                        .filter(secret::Column::Id.eq(&row.id))
                        // Two rotations at once: the second finds it sealed again.
                        .filter(secret::Column::Sealed.eq(&row.sealed))
                        .exec(&*tx)
                        .await?;
                    done.resealed += changed.rows_affected;
                }
                Err(error) => done.unreadable.push(format!("secret {} of {}: {error}", row.id, row.owner)),
            }
        }
        tx.commit().await?;
    }
}

/// The key that signs the audit is not counted: nobody entered it.
async fn rotate_audit_key(db: &Db, keyring: &Keyring, done: &mut Rotation) -> Result<()> {
    let tx = db.begin().await?;
    tx.lock("audit_head", "id = $1", 1i64).await?;
    let head = audit_head::Entity::find_by_id(1).one(&*tx).await?;
    let Some(old) = head.and_then(|head| head.sealed_key).filter(|sealed| keyring.needs_rotation(sealed)) else {
        return Ok(());
    };
    match keyring.open(&old, KEY_ROW).and_then(|plain| keyring.seal(plain.expose(), KEY_ROW)) {
        Ok(sealed) => {
            audit_head::Entity::update_many()
                .col_expr(audit_head::Column::SealedKey, sealed.into())
                .filter(audit_head::Column::Id.eq(1))
                .exec(&*tx)
                .await?;
        }
        Err(error) => done.unreadable.push(format!("the key that signs the audit: {error}")),
    }
    Ok(tx.commit().await?)
}
