//! The rows of the audit, each chained to the one before.
//!
//! A row's hash covers all of it and the hash of the row before, so that no row can be changed, removed or put in between without changing every hash
//! that follows. A signature over the hash, with a key that is sealed with the master key, keeps whoever can write to the database alone from
//! computing those hashes anew. What remains: rows cut off at the end, together with the head that names them. Nothing *inside* the database can tell
//! that from an audit that never had them; so the number and the hash of each row are logged where the process logs, and `slipway audit verify`
//! takes such a head and demands it.
//!
//! The order of locks: the head's row is the last one that a transaction takes.

use std::fmt::Write as _;

use engine::{
    db::{Tx, clock_sql, sql_with},
    secrets::{Keyring, Secret},
};
use entities::{audit_event, audit_head};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, DbBackend, EntityTrait as _, QueryFilter as _,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Error, Result},
    sealed,
};

/// The row that the sealed key belongs to: its associated data.
pub(crate) const KEY_ROW: &str = "audit_head/1";
/// What the hash covers, and how.
const VERSION: i64 = 1;

/// The newest row of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 before the first.
    pub seq: i64,
    /// Its hash; empty before the first.
    pub hash: String,
}

/// Appends a row: number, time, hashes and signature are set here. The caller commits.
pub(crate) async fn append(tx: &Tx, keyring: Option<&Keyring>, mut row: audit_event::Model) -> Result<Head> {
    let postgres = tx.get_database_backend() == DbBackend::Postgres;
    let lock = if postgres { " FOR UPDATE" } else { "" };
    let clock = clock_sql(tx.get_database_backend());
    let sql = format!("SELECT seq, at, hash, sealed_key, {clock} AS now FROM audit_head WHERE id = 1{lock}");
    let head = tx.query_one_raw(sql_with(&**tx, sql, [])).await?;
    let head = head.ok_or_else(|| Error::fault("the audit has no head"))?;
    let seq: i64 = head.try_get("", "seq")?;
    let (before, now): (i64, i64) = (head.try_get("", "at")?, head.try_get("", "now")?);
    row.seq = seq.saturating_add(1);
    row.at = now.max(before);
    row.prev = head.try_get("", "hash")?;
    row.hash = hash(&row);
    let mut update = audit_head::Entity::update_many();
    if let Some(keyring) = keyring {
        let key = match head.try_get::<Option<String>>("", "sealed_key")? {
            Some(sealed) => match keyring.open(&sealed, KEY_ROW) {
                Ok(key) => Some(key),
                Err(error) => {
                    // The record counts for more than its signature; a check of the audit names the row.
                    tracing::error!(error = %error, audit.seq = row.seq, "a record of the audit could not be signed");
                    None
                }
            },
            None => {
                let key = Secret::new(random_key());
                let sealed = keyring.seal(key.expose(), KEY_ROW).map_err(|error| Error::fault(error.to_string()))?;
                update = update.col_expr(audit_head::Column::SealedKey, sealed.into());
                Some(key)
            }
        };
        row.signature = key.map(|key| sign(&key, &row.hash));
    }
    let new = Head { seq: row.seq, hash: row.hash.clone() };
    update
        .col_expr(audit_head::Column::Seq, row.seq.into())
        .col_expr(audit_head::Column::At, row.at.into())
        .col_expr(audit_head::Column::Hash, row.hash.as_str().into())
        .filter(audit_head::Column::Id.eq(1))
        .exec(&**tx)
        .await?;
    audit_event::Entity::insert(active(row)).exec_without_returning(&**tx).await?;
    Ok(new)
}

/// The hash of a row: over a JSON array of all its columns in this order, so that no two rows are written alike.
pub(crate) fn hash(row: &audit_event::Model) -> String {
    let columns = json!([
        VERSION,
        row.seq,
        row.id,
        row.at,
        row.login,
        row.key_id,
        row.via,
        row.address,
        row.request_id,
        row.action,
        row.object_kind,
        row.object_id,
        row.infrastructure_id,
        row.project_key,
        row.outcome,
        row.codes,
        row.old_values,
        row.new_values,
        row.run_ids,
        row.times,
        row.prev,
    ]);
    hex(&Sha256::digest(columns.to_string().as_bytes()))
}

/// What proves that a row was written by somebody with the master key.
pub(crate) fn sign(key: &Secret, hash: &str) -> String {
    hex(&mac(key, hash).finalize().into_bytes())
}

/// Whether this signature is the one of this hash; told in a time that does not depend on how much of it is right.
pub(crate) fn is_signed(key: &Secret, hash: &str, signature: &str) -> bool {
    let bytes: Option<Vec<u8>> = (0..signature.len())
        .step_by(2)
        .map(|at| signature.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    bytes.is_some_and(|bytes| mac(key, hash).verify_slice(&bytes).is_ok())
}

fn mac(key: &Secret, hash: &str) -> Hmac<Sha256> {
    // A key of any length is taken.
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(hash.as_bytes());
    mac
}

fn random_key() -> String {
    format!("{}{}", sealed::random_id(), sealed::random_id())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn active(row: audit_event::Model) -> audit_event::ActiveModel {
    audit_event::ActiveModel {
        seq: Set(row.seq),
        id: Set(row.id),
        at: Set(row.at),
        login: Set(row.login),
        key_id: Set(row.key_id),
        via: Set(row.via),
        address: Set(row.address),
        request_id: Set(row.request_id),
        action: Set(row.action),
        object_kind: Set(row.object_kind),
        object_id: Set(row.object_id),
        infrastructure_id: Set(row.infrastructure_id),
        project_key: Set(row.project_key),
        outcome: Set(row.outcome),
        codes: Set(row.codes),
        old_values: Set(row.old_values),
        new_values: Set(row.new_values),
        run_ids: Set(row.run_ids),
        times: Set(row.times),
        prev: Set(row.prev),
        hash: Set(row.hash),
        signature: Set(row.signature),
    }
}
