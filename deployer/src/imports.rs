//! Our own record of which node imported which package. A package id on a node is ours only if this says so.

use async_trait::async_trait;
use engine::{
    db::{Db, Tx, sql_with},
    failure::{Code, Failure, StepError},
};
use entities::{node_import, package_binding};
use sea_orm::{ColumnTrait as _, ConnectionTrait as _, DbErr, EntityTrait as _, QueryFilter as _};
use targets::{
    codes::BUNDLE_CONTENT_DIFFERS,
    target::{Import, ImportLedger, ImportRecords},
};

/// The record could not be read or written: worth another attempt.
pub const IMPORT_RECORD_UNAVAILABLE: Code = Code::new("IMPORT_RECORD_UNAVAILABLE");

/// The ledger of one run: imports are kept per node and project there, bindings per published project.
#[derive(Clone, Debug)]
pub struct Imports {
    db: Db,
    published_project: String,
}

impl Imports {
    /// For a run that deploys a bundle of this published project.
    pub fn new(db: Db, published_project: impl Into<String>) -> Self {
        Self { db, published_project: published_project.into() }
    }

    /// Binds a package's id to its content, unless it is bound already; to another one, that is refused.
    async fn bound(&self, tx: &Tx, bundle_id: &str, sha256: &str, at: i64) -> Result<(), Refused> {
        let values = [self.published_project.clone().into(), bundle_id.into(), sha256.into(), at.into()];
        let bind = "INSERT INTO package_binding (project_key, bundle_id, sha256, bound_at) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (project_key, bundle_id) DO NOTHING";
        tx.execute_raw(sql_with(&**tx, bind, values)).await?;
        let bound = package_binding::Entity::find_by_id((self.published_project.clone(), bundle_id.to_owned()))
            .one(&**tx)
            .await?;
        if bound.is_none_or(|bound| bound.sha256 != sha256) {
            return Err(Refused::Differs);
        }
        Ok(())
    }

    /// Writes the import, and with an intent the binding, in one transaction.
    async fn write(&self, import: &Written<'_>) -> Result<(), Refused> {
        let tx = self.db.begin().await?;
        let at = tx.now().await?;
        // The binding first: whoever comes second waits for the first's commit, and then sees what it bound.
        self.bound(&tx, import.bundle_id, import.sha256, at).await?;
        // What the node was seen to have is never taken back by an intent, and never becomes another content.
        let values = [
            import.node_url.into(),
            import.project_key.into(),
            import.bundle_id.into(),
            import.sha256.into(),
            import.confirmed.into(),
            at.into(),
        ];
        let upsert = "INSERT INTO node_import (node_url, project_key, bundle_id, sha256, confirmed, at) VALUES ($1, $2, $3, $4, $5, $6) \
                      ON CONFLICT (node_url, project_key, bundle_id) DO UPDATE SET sha256 = excluded.sha256, at = excluded.at, \
                      confirmed = (node_import.confirmed OR excluded.confirmed) \
                      WHERE NOT node_import.confirmed OR node_import.sha256 = excluded.sha256";
        let written = tx.execute_raw(sql_with(&*tx, upsert, values)).await?;
        if written.rows_affected() == 0 {
            return Err(Refused::Differs);
        }
        tx.commit().await?;
        Ok(())
    }
}

struct Written<'a> {
    node_url: &'a str,
    project_key: &'a str,
    bundle_id: &'a str,
    sha256: &'a str,
    confirmed: bool,
}

enum Refused {
    Differs,
    Database(DbErr),
}

impl From<DbErr> for Refused {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<Refused> for StepError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Differs => Failure::new(
                BUNDLE_CONTENT_DIFFERS,
                "This bundle id already means another content. Make the bundle again under a new id.",
            )
            .permanent(),
            Refused::Database(error) => unavailable(&error),
        }
    }
}

fn unavailable(error: &DbErr) -> StepError {
    // The detail of a database stays in our log: administrators of an infrastructure are not operators.
    tracing::warn!(%error, "the record of imports could not be used");
    Failure::new(IMPORT_RECORD_UNAVAILABLE, "Slipway's own record of imports could not be used. It is tried again.")
        .retryable(None)
}

/// All of it, to be read.
pub(crate) struct Records<'a>(pub(crate) &'a Db);

#[async_trait]
impl ImportRecords for Records<'_> {
    async fn find(&self, node_url: &str, project_key: &str, bundle_id: &str) -> Result<Option<Import>, StepError> {
        let key = (node_url.to_owned(), project_key.to_owned(), bundle_id.to_owned());
        let found = node_import::Entity::find_by_id(key).one(self.0.pool()).await;
        let found = found.map_err(|error| unavailable(&error))?;
        Ok(found.map(|row| Import { sha256: row.sha256, confirmed: row.confirmed, at: row.at }))
    }
}

#[async_trait]
impl ImportRecords for Imports {
    async fn find(&self, node_url: &str, project_key: &str, bundle_id: &str) -> Result<Option<Import>, StepError> {
        Records(&self.db).find(node_url, project_key, bundle_id).await
    }
}

#[async_trait]
impl ImportLedger for Imports {
    async fn intend(&self, node_url: &str, project_key: &str, bundle_id: &str, sha256: &str) -> Result<(), StepError> {
        Ok(self.write(&Written { node_url, project_key, bundle_id, sha256, confirmed: false }).await?)
    }

    async fn bind(&self, package_id: &str, sha256: &str) -> Result<(), StepError> {
        let bind = async {
            let tx = self.db.begin().await?;
            let at = tx.now().await?;
            self.bound(&tx, package_id, sha256, at).await?;
            tx.commit().await?;
            Ok::<_, Refused>(())
        };
        Ok(bind.await?)
    }

    async fn withdraw(
        &self,
        node_url: &str,
        project_key: &str,
        bundle_id: &str,
        sha256: &str,
    ) -> Result<(), StepError> {
        let take = async {
            let tx = self.db.begin().await?;
            let key = (node_url.to_owned(), project_key.to_owned(), bundle_id.to_owned());
            node_import::Entity::delete_by_id(key)
                .filter(node_import::Column::Confirmed.eq(false))
                .filter(node_import::Column::Sha256.eq(sha256))
                .exec(&*tx)
                .await?;
            tx.commit().await
        };
        take.await.map_err(|error: DbErr| unavailable(&error))
    }

    async fn confirm(&self, node_url: &str, project_key: &str, bundle_id: &str, sha256: &str) -> Result<(), StepError> {
        Ok(self.write(&Written { node_url, project_key, bundle_id, sha256, confirmed: true }).await?)
    }
}
