//! Repeated requests: the same key of the same user for the same deployment answers with the first update, whatever changed since.

use engine::{
    db::{Tx, sql_with},
    ids::RunId,
};
use entities::idempotency_key;
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    Deployer,
    error::{Error, Result},
    sealed,
};

/// The longest key, in characters.
pub const LONGEST: usize = 200;
/// How long keys are kept, in microseconds: 7 days.
pub const KEPT: i64 = 7 * 24 * 60 * 60 * 1_000_000;

/// One request with its key.
pub(super) struct Request<'a> {
    pub(super) login: &'a str,
    pub(super) deployment: &'a str,
    pub(super) key: &'a str,
    /// What was asked, by the request's own arguments.
    arguments: String,
}

impl<'a> Request<'a> {
    /// # Errors
    /// `IDEMPOTENCY_KEY_INVALID`.
    pub(super) fn new(login: &'a str, deployment: &'a str, key: &'a str, arguments: &Value) -> Result<Self> {
        if key.trim().is_empty() || key.chars().count() > LONGEST || key.chars().any(char::is_control) {
            let message =
                format!("An idempotency key has 1 to {LONGEST} characters, none of them a control character.");
            return Err(Error::field("IDEMPOTENCY_KEY_INVALID", "idempotencyKey", message));
        }
        let arguments =
            Sha256::digest(arguments.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { login, deployment, key, arguments })
    }

    /// The run that the first request made. The caller holds the deployment's lock, so that two equal requests take turns.
    ///
    /// # Errors
    /// `IDEMPOTENCY_MISMATCH` if the first request asked for something else.
    pub(super) async fn first(&self, tx: &Tx) -> Result<Option<RunId>> {
        let oldest = tx.now().await? - KEPT;
        let id = (self.login.to_owned(), self.deployment.to_owned(), self.key.to_owned());
        let Some(row) = idempotency_key::Entity::find_by_id(id).one(&**tx).await? else { return Ok(None) };
        if row.created_at < oldest {
            return Ok(None);
        }
        if row.arguments != self.arguments {
            let message = "This idempotency key was used for another request. Use a new key for a new request.";
            return Err(Error::field("IDEMPOTENCY_MISMATCH", "idempotencyKey", message));
        }
        Ok(Some(RunId(row.run_id)))
    }

    /// Keeps the answer; a key that is older than [`KEPT`] starts anew.
    pub(super) async fn keep(&self, tx: &Tx, run: RunId) -> Result<()> {
        let values = [
            self.login.into(),
            self.deployment.into(),
            self.key.into(),
            self.arguments.as_str().into(),
            run.0.into(),
            tx.now().await?.into(),
        ];
        let sql = "INSERT INTO idempotency_key (login, deployment_id, key, arguments, run_id, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT (login, deployment_id, key) DO UPDATE SET arguments = excluded.arguments, run_id = excluded.run_id, \
                   created_at = excluded.created_at";
        tx.execute_raw(sql_with(&**tx, sql, values)).await?;
        Ok(())
    }
}

/// Forgets keys that are older than [`KEPT`]; answers how many. For a worker's sweeper, now and then; so it forgets the nodes' keys that no update
/// needs any more along with them.
///
/// # Errors
/// The database's.
pub async fn forget_old(deployer: &Deployer) -> Result<u64> {
    let tx = deployer.db.begin().await?;
    let oldest = tx.now().await? - KEPT;
    let gone =
        idempotency_key::Entity::delete_many().filter(idempotency_key::Column::CreatedAt.lt(oldest)).exec(&*tx).await?;
    tx.commit().await?;
    sealed::sweep(&deployer.db).await?;
    Ok(gone.rows_affected)
}
