//! Secrets at rest: immutable rows, sealed with the master key. The row's id is the associated data, so a sealed text that was copied into
//! another row does not open there.
//!
//! Nothing outside this crate writes them; workers open one by the reference that a run's spec holds.

use std::collections::BTreeSet;

use engine::{
    clock,
    db::{Db, Tx, sql_with},
    secrets::{KeyId, Keyring, Secret, SecretsError},
};
use entities::{infrastructure, secret};
use sea_orm::{ActiveValue::Set, ConnectionTrait as _, EntityTrait};

use crate::{
    error::{Error, Result},
    infrastructures::nodes,
};

/// The code of a secret whose master key is not here.
pub const KEY_UNKNOWN: &str = "SECRET_KEY_UNKNOWN";

/// What the owner of an infrastructure's secrets begins with; its id follows.
const OWNER: &str = "infrastructure/";
/// The same for keys of governance sources. A name of its own: the version before removes what it takes for an infrastructure's unused keys.
const GOVERNANCE_OWNER: &str = "governance/";
/// The same for keys of several nodes, for the same reason.
const NODE_OWNER: &str = "nodes/";

/// The owner of an infrastructure's secrets.
pub(crate) fn owner_of(infrastructure: &str) -> String {
    format!("{OWNER}{infrastructure}")
}

/// The owner of the keys of an infrastructure's governance source.
pub(crate) fn governance_owner_of(infrastructure: &str) -> String {
    format!("{GOVERNANCE_OWNER}{infrastructure}")
}

/// The owner of the keys of an infrastructure's several nodes.
pub(crate) fn node_owner_of(infrastructure: &str) -> String {
    format!("{NODE_OWNER}{infrastructure}")
}

/// All owners of an infrastructure's secrets.
pub(crate) fn owners_of(infrastructure: &str) -> [String; 3] {
    [owner_of(infrastructure), governance_owner_of(infrastructure), node_owner_of(infrastructure)]
}

/// The secrets that an infrastructure's settings name.
pub(crate) fn named_by(row: &infrastructure::Model) -> Result<BTreeSet<String>> {
    let of_nodes = nodes::key_refs(row.node_key_refs.as_deref())?.into_values();
    Ok(row.key_ref.iter().chain(&row.governance_key_ref).cloned().chain(of_nodes).collect())
}

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
/// The database's; `SECRET_KEY_UNKNOWN` when the master key is missing; a fault that names the row when the text was changed.
pub async fn open(db: &Db, keyring: &Keyring, reference: &str) -> Result<Option<Secret>> {
    let Some(row) = secret::Entity::find_by_id(reference).one(db.pool()).await? else {
        return Ok(None);
    };
    keyring.open(&row.sealed, &row.id).map(Some).map_err(|error| {
        let detail = format!("{}: secret {} of {}: {error}", error.code(), row.id, row.owner);
        match error {
            // An operator can mend it, and whoever asked can tell one.
            SecretsError::KeyUnknown(_) => {
                tracing::error!(error = detail, "a secret could not be opened");
                Error::refused(KEY_UNKNOWN, error.to_string())
            }
            _ => Error::fault(detail),
        }
    })
}

/// The ids of the master keys that the stored secrets need and `keyring` (none: any) does not hold, each once.
///
/// # Errors
/// The database's.
pub async fn unknown_keys(db: &Db, keyring: Option<&Keyring>) -> Result<BTreeSet<String>> {
    // The key's id is in the text before the second dot, at most 32 characters long.
    let sql = "SELECT DISTINCT substr(sealed, 1, 36) AS head FROM secret UNION \
               SELECT substr(sealed_key, 1, 36) AS head FROM audit_head WHERE sealed_key IS NOT NULL";
    let mut unknown = BTreeSet::new();
    for row in db.pool().query_all_raw(sql_with(db.pool(), sql, [])).await? {
        let head: String = row.try_get("", "head")?;
        unknown.extend(KeyId::of_sealed(&head).filter(|id| keyring.is_none_or(|keyring| !keyring.holds(id))));
    }
    Ok(unknown.iter().map(ToString::to_string).collect())
}

/// Removes an infrastructure's secrets but `kept` and those that an update which has not ended works with. The caller holds the infrastructure's
/// lock, so that no update is being requested with one of them. A retry takes the key of its own moment: an ended update needs none.
pub(crate) async fn forget_unused(tx: &Tx, infrastructure: &str, kept: &BTreeSet<String>) -> Result<u64> {
    // The spec is in the first event, and names secrets by random ids.
    let places: Vec<_> = (0..kept.len()).map(|at| format!("${}", at + 5)).collect();
    let but = if places.is_empty() { String::new() } else { format!("AND id NOT IN ({})", places.join(", ")) };
    let sql = format!(
        "DELETE FROM secret WHERE owner IN ($1, $2, $3) {but} AND NOT EXISTS (SELECT 1 FROM deployment d \
         JOIN run r ON r.deployment_id = d.id JOIN run_event e ON e.run_id = r.id AND e.seq = 1 \
         WHERE d.infrastructure_id = $4 AND r.ended_at IS NULL AND e.data LIKE '%' || secret.id || '%')"
    );
    let named = owners_of(infrastructure).into_iter().chain([infrastructure.to_owned()]);
    let values = named.chain(kept.iter().cloned()).map(Into::into);
    Ok(tx.execute_raw(sql_with(&**tx, sql, values)).await?.rows_affected())
}

/// Removes the secrets that nothing needs any more, of every infrastructure; answers how many. A key that was replaced or cleared while updates
/// worked with it goes this way, once they have ended.
///
/// # Errors
/// The database's. What was removed before stays removed.
pub async fn sweep(db: &Db) -> Result<u64> {
    let pool = db.pool();
    let sql = "SELECT DISTINCT s.owner FROM secret s \
               WHERE NOT EXISTS (SELECT 1 FROM infrastructure i WHERE i.key_ref = s.id OR i.governance_key_ref = s.id \
               OR i.node_key_refs LIKE '%' || s.id || '%')";
    let mut gone = 0;
    for row in pool.query_all_raw(sql_with(pool, sql, [])).await? {
        let owner: String = row.try_get("", "owner")?;
        let id = [OWNER, GOVERNANCE_OWNER, NODE_OWNER].iter().find_map(|prefix| owner.strip_prefix(prefix));
        let Some(id) = id else { continue };
        let tx = db.begin().await?;
        tx.lock("infrastructure", "id = $1", id).await?;
        let row = infrastructure::Entity::find_by_id(id).one(&*tx).await?;
        let kept = row.as_ref().map(named_by).transpose()?.unwrap_or_default();
        gone += forget_unused(&tx, id, &kept).await?;
        tx.commit().await?;
    }
    Ok(gone)
}

/// 128 random bits, hexadecimal: an id that says nothing and that nobody guesses.
pub(crate) fn random_id() -> String {
    format!("{:016x}{:016x}", clock::random_u64(), clock::random_u64())
}

fn fault(error: SecretsError) -> Error {
    Error::fault(format!("{}: {error}", error.code()))
}
