//! Deleting a deployment, with a choice of what becomes of its project on the node. What is done there is done by a recorded update; the deployment goes
//! when that has succeeded.

use std::time::Duration;

use engine::db::{Db, Tx, clock_sql, sql_with};
use engine::{ids::RunId, journal::Status, runs};
use entities::{api_key, deployment, drift, idempotency_key, removal, run};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryResult, QuerySelect as _,
    sea_query::Query,
};

use super::write;
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    sealed,
    updates::{self, Accepted, purpose::Purpose},
    viewer::{Via, Viewer},
};

/// What becomes of the project on the node when its deployment is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnNode {
    /// It stays as it is, and works on.
    #[default]
    Leave,
    /// It stays, with every scenario off and every web app stopped.
    SwitchOff,
    /// It is deleted.
    DeleteProject,
}

impl OnNode {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leave => "LEAVE",
            Self::SwitchOff => "SWITCH_OFF",
            Self::DeleteProject => "DELETE_PROJECT",
        }
    }
}

/// What became of a deletion.
#[derive(Clone, Debug, PartialEq)]
pub enum Deletion {
    /// The deployment is gone.
    Gone,
    /// It goes when this update has done its work on the node; if it fails, the deployment stays.
    Requested(Box<Accepted>),
}

/// Those who follow the update of a deletion see its end for so long, in µs.
const GRACE: i64 = 10_000_000;

/// Deletes a deployment with the history of its updates.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `UPDATE_RUNNING` while an update has not ended. If something is to be done on the node, also
/// `IDEMPOTENCY_KEY_INVALID`, `IDEMPOTENCY_MISMATCH`, `DEPLOYMENT_DELETED`, `NOT_DEPLOYED` and `ADMIN_KEY_MISSING`.
pub async fn delete_with(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    on_node: OnNode,
    idempotency_key: Option<&str>,
) -> Result<Deletion> {
    if on_node == OnNode::Leave {
        write::delete(deployer, viewer, id).await?;
        return Ok(Deletion::Gone);
    }
    let accepted = updates::ask::ask(deployer, viewer, id, Purpose::Delete(on_node), idempotency_key).await?;
    Ok(Deletion::Requested(Box::new(accepted)))
}

/// How often it is looked whether an update has ended.
const LOOK: Duration = Duration::from_millis(200);

/// Deletes a deployment with all that its updates made on the platform, and answers when it is gone. `ignoring`: it goes even if that fails. `within` bounds the wait.
///
/// # Errors
/// Those of [`delete_with`]; `PRE_DELETE_FAILED` when what was made could not be taken away; `PRE_DELETE_UNFINISHED` when that took longer: it goes on.
pub async fn delete_wholly(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    ignoring: bool,
    within: Duration,
) -> Result<()> {
    let asked = updates::ask::ask(deployer, viewer, id, Purpose::Delete(OnNode::DeleteProject), None).await;
    let accepted = match asked {
        Ok(accepted) => accepted,
        // Nothing was made: there is nothing to take away.
        Err(Error::Refused(refusals)) if refusals.iter().all(|refusal| refusal.code == "NOT_DEPLOYED") => {
            return write::delete(deployer, viewer, id).await;
        }
        // A platform that can't even be named any more can't be asked.
        Err(Error::Refused(refusals))
            if ignoring
                && refusals
                    .iter()
                    .all(|one| one.code != "UPDATE_RUNNING" && one.code != "NOT_FOUND" && one.code != "FORBIDDEN") =>
        {
            return write::delete(deployer, viewer, id).await;
        }
        Err(error) => return Err(error),
    };
    let run = accepted.update.id;
    let ended = tokio::time::timeout(within, ended(deployer, run)).await;
    let Ok(ended) = ended else {
        let message =
            format!("Update {run} still takes away what was made on the platform. The deployment goes when it has.");
        return Err(Error::field("PRE_DELETE_UNFINISHED", "id", message));
    };
    let (status, failure) = ended?;
    if matches!(status, Status::Succeeded | Status::Warning) {
        remove(&deployer.db, id).await?;
        return Ok(());
    }
    if ignoring && status != Status::Stuck {
        return write::delete(deployer, viewer, id).await;
    }
    let message = format!("What was made on the platform could not be taken away, so the deployment stays: {failure}");
    Err(Error::field("PRE_DELETE_FAILED", "id", message))
}

/// Waits until an update has ended, or is stuck; answers how, and why.
async fn ended(deployer: &Deployer, run: RunId) -> Result<(Status, String)> {
    loop {
        // It goes with its deployment, once it succeeded.
        let Some(loaded) = runs::load(deployer.db.pool(), run).await? else {
            return Ok((Status::Succeeded, String::new()));
        };
        let status = loaded.state.status();
        if !matches!(status, Status::Queued | Status::Running | Status::Waiting) {
            let failure = loaded.state.stopped.as_ref();
            return Ok((status, failure.map_or_else(|| "it was cancelled.".to_owned(), |one| one.message.clone())));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Removes the deployments whose deletion has done its work on the node; answers how many. For a worker, in nobody's name: the right was asked for when the
/// deletion was.
///
/// # Errors
/// The database's.
pub async fn sweep(db: &Db) -> Result<u64> {
    let pool = db.pool();
    let clock = clock_sql(pool.get_database_backend());
    let sql = format!(
        "SELECT m.deployment_id AS id FROM removal m JOIN run r ON r.id = m.run_id \
         WHERE r.status IN ('SUCCEEDED', 'WARNING') AND r.ended_at <= {clock} - $1 ORDER BY r.ended_at, r.id LIMIT 100"
    );
    let due = pool.query_all_raw(sql_with(pool, sql, [GRACE.into()])).await?;
    remove_all(db, due).await
}

/// Removes at once what keeps a new deployment from its names, though its deletion has done its work: whoever makes one anew need not wait for those who watch.
pub(super) async fn make_way(db: &Db, id: &str, infrastructure: &str, deployed: &str) -> Result<()> {
    let pool = db.pool();
    let sql = "SELECT m.deployment_id AS id FROM removal m JOIN run r ON r.id = m.run_id JOIN deployment d ON d.id = m.deployment_id \
               WHERE r.status IN ('SUCCEEDED', 'WARNING') AND (d.id = $1 OR (d.infrastructure_id = $2 AND d.deployed_project_key = $3))";
    let values = [id.into(), infrastructure.into(), deployed.into()];
    let due = pool.query_all_raw(sql_with(pool, sql, values)).await?;
    remove_all(db, due).await?;
    Ok(())
}

async fn remove_all(db: &Db, due: Vec<QueryResult>) -> Result<u64> {
    let mut gone = 0;
    for row in due {
        let id: String = row.try_get("", "id")?;
        match remove(db, &id).await {
            Ok(true) => gone += 1,
            Ok(false) => {}
            // The others go all the same.
            Err(error) => tracing::warn!(deployment = id, ?error, "a deleted deployment could not be removed"),
        }
    }
    Ok(gone)
}

/// Removes one, unless its deletion did not succeed, or something was asked of it all the same: then it stays.
async fn remove(db: &Db, id: &str) -> Result<bool> {
    let tx = db.begin().await?;
    tx.lock("deployment", "id = $1", id).await?;
    let Some(due) = removal::Entity::find_by_id(id).one(&*tx).await? else { return Ok(false) };
    let ended = run::Entity::find_by_id(due.run_id).one(&*tx).await?;
    if ended.as_ref().is_some_and(|run| run.ended_at.is_none()) {
        return Ok(false);
    }
    let succeeded = ended
        .is_some_and(|run| [Status::Succeeded, Status::Warning].map(Status::as_str).contains(&run.status.as_str()));
    let unfinished = run::Entity::find()
        .filter(run::Column::DeploymentId.eq(id))
        .filter(run::Column::EndedAt.is_null())
        .limit(1)
        .one(&*tx)
        .await?;
    if !succeeded || unfinished.is_some() {
        removal::Entity::delete_by_id(id).exec(&*tx).await?;
        tx.commit().await?;
        tracing::warn!(
            deployment = id,
            "a deployment stays: its deletion did not succeed, or another update was asked for after it"
        );
        return Ok(false);
    }
    let act = Act::unsigned(db, None, Via::Worker, "deleteDeployment", Object::new(ObjectKind::Deployment, id));
    act.before(&tx).await?;
    act.update(RunId(due.run_id));
    erase(&tx, id).await?;
    act.commit(tx).await?;
    tracing::info!(deployment = id, "a deployment was deleted, after its update on the node");
    Ok(true)
}

/// Removes a deployment and all that hangs on it. The caller holds its lock, and has seen that no update of it is unfinished.
pub(super) async fn erase(tx: &Tx, id: &str) -> Result<()> {
    let runs = Query::select()
        .column(run::Column::Id)
        .from(run::Entity)
        .and_where(run::Column::DeploymentId.eq(id))
        .to_owned();
    // Dead with their runs, and of no use to anybody.
    api_key::Entity::delete_many().filter(api_key::Column::HooksRunId.in_subquery(runs)).exec(&**tx).await?;
    runs::forget(tx, id).await?;
    idempotency_key::Entity::delete_many().filter(idempotency_key::Column::DeploymentId.eq(id)).exec(&**tx).await?;
    drift::Entity::delete_by_id(id).exec(&**tx).await?;
    sealed::forget_owner(tx, &sealed::deployment_owner_of(id)).await?;
    removal::Entity::delete_by_id(id).exec(&**tx).await?;
    deployment::Entity::delete_by_id(id.to_owned()).exec(&**tx).await?;
    Ok(())
}
