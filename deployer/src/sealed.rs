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
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait as _, EntityTrait, QueryFilter as _, QuerySelect as _,
};
use serde_json::Value;
use targets::secret_ref;

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

/// The same for the secrets of what its target wants to know.
const PLATFORM_OWNER: &str = "platform/";
/// Of connections, deployments and service versions.
const CONNECTION_OWNER: &str = "connection/";
const DEPLOYMENT_OWNER: &str = "deployment/";
const VERSION_OWNER: &str = "version/";

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

/// The owner of the secrets in what an infrastructure's target wants to know.
pub(crate) fn platform_owner_of(infrastructure: &str) -> String {
    format!("{PLATFORM_OWNER}{infrastructure}")
}

/// The owner of the secrets of a connection.
pub(crate) fn connection_owner_of(connection: &str) -> String {
    format!("{CONNECTION_OWNER}{connection}")
}

/// The owner of the secrets in a deployment's settings.
pub(crate) fn deployment_owner_of(deployment: &str) -> String {
    format!("{DEPLOYMENT_OWNER}{deployment}")
}

/// The owner of what callers need of a service version.
pub(crate) fn version_owner_of(key: &str, version: &str) -> String {
    format!("{VERSION_OWNER}{key}/{version}")
}

/// All owners of an infrastructure's secrets.
pub(crate) fn owners_of(infrastructure: &str) -> [String; 4] {
    let mut owners = [OWNER, GOVERNANCE_OWNER, NODE_OWNER, PLATFORM_OWNER].map(str::to_owned);
    owners.iter_mut().for_each(|owner| owner.push_str(infrastructure));
    owners
}

/// The secrets that an infrastructure's settings name.
pub(crate) fn named_by(row: &infrastructure::Model) -> Result<BTreeSet<String>> {
    let of_nodes = nodes::key_refs(row.node_key_refs.as_deref())?.into_values();
    let of_settings = named_in(&row.settings)?;
    Ok(row.key_ref.iter().chain(&row.governance_key_ref).cloned().chain(of_nodes).chain(of_settings).collect())
}

/// The secrets that a document names.
pub(crate) fn named_in(json: &str) -> Result<BTreeSet<String>> {
    let document: Value = serde_json::from_str(json)?;
    Ok(secret_ref::all_in(&document).into_iter().map(|reference| reference.id).collect())
}

/// Removes the secrets of this owner but `kept`, and those that an update of these deployments which has not ended works with: all of them, or one.
pub(crate) async fn forget_unused_of(
    tx: &Tx,
    owner: &str,
    kept: &BTreeSet<String>,
    deployment: Option<&str>,
) -> Result<()> {
    let mine = secret::Entity::find()
        .select_only()
        .column(secret::Column::Id)
        .filter(secret::Column::Owner.eq(owner))
        .into_tuple::<String>()
        .all(&**tx)
        .await?;
    for id in mine.into_iter().filter(|id| !kept.contains(id)) {
        let of_one = if deployment.is_some() { "AND r.deployment_id = $2" } else { "" };
        let sql = format!(
            "DELETE FROM secret WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM run r JOIN run_event e ON e.run_id = r.id \
             AND e.seq = 1 WHERE r.ended_at IS NULL {of_one} AND e.data LIKE '%' || secret.id || '%')"
        );
        let values = [id].into_iter().chain(deployment.map(str::to_owned)).map(Into::into);
        tx.execute_raw(sql_with(&**tx, &sql, values)).await?;
    }
    Ok(())
}

/// Removes the secrets of an owner that is gone.
pub(crate) async fn forget_owner(tx: &Tx, owner: &str) -> Result<()> {
    secret::Entity::delete_many().filter(secret::Column::Owner.eq(owner)).exec(&**tx).await?;
    Ok(())
}

/// Removes what callers needed of all versions of a published service that is gone.
pub(crate) async fn forget_versions(tx: &Tx, key: &str) -> Result<()> {
    let sql = "DELETE FROM secret WHERE substr(owner, 1, length($1)) = $1";
    tx.execute_raw(sql_with(&**tx, sql, [version_owner_of(key, "").into()])).await?;
    Ok(())
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
    let places: Vec<_> = (0..kept.len()).map(|at| format!("${}", at + 6)).collect();
    let but = if places.is_empty() { String::new() } else { format!("AND id NOT IN ({})", places.join(", ")) };
    let sql = format!(
        "DELETE FROM secret WHERE owner IN ($1, $2, $3, $4) {but} AND NOT EXISTS (SELECT 1 FROM deployment d \
         JOIN run r ON r.deployment_id = d.id JOIN run_event e ON e.run_id = r.id AND e.seq = 1 \
         WHERE d.infrastructure_id = $5 AND r.ended_at IS NULL AND e.data LIKE '%' || secret.id || '%')"
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
               OR i.node_key_refs LIKE '%' || s.id || '%' OR i.settings LIKE '%' || s.id || '%')";
    let mut gone = 0;
    for row in pool.query_all_raw(sql_with(pool, sql, [])).await? {
        let owner: String = row.try_get("", "owner")?;
        let id =
            [OWNER, GOVERNANCE_OWNER, NODE_OWNER, PLATFORM_OWNER].iter().find_map(|prefix| owner.strip_prefix(prefix));
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
