//! Cancelling a run, inside the caller's transaction. A run that nobody living holds ends there; whoever holds it is asked.

use sea_orm::{ConnectionTrait, DbErr};

use super::{RunsError, due::Place, op::Op, read, sql};
use crate::{
    db::{Db, Tx, clock_sql, sql_with},
    ids::{RunId, WorkerId},
    journal::follow,
    leases::rows,
};

/// So many wishes one look finds at most.
pub const AT_ONCE: usize = 100;

/// What a request to cancel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Nobody living held the run: it has ended.
    Ended,
    /// A worker will see it, at the next edge or within two heartbeats. Ring the run after the commit.
    Asked,
    /// It had ended before.
    AlreadyEnded,
    /// There is no such run.
    Absent,
}

/// Asks to cancel. A run that nobody living holds ends here, unless something must be put back first, or a worker is there that can put the node
/// in order.
///
/// # Errors
/// The database, or a broken journal.
pub async fn cancel(tx: &Tx, id: RunId, login: &str) -> Result<Cancel, RunsError> {
    tx.lock("run", "id = $1", id.0).await?;
    let Some(loaded) = read::load(&**tx, id).await? else { return Ok(Cancel::Absent) };
    if loaded.row.ended_at.is_some() {
        return Ok(Cancel::AlreadyEnded);
    }
    if let Some(holder) = loaded.row.worker_id {
        rows::end_if_lapsed(tx, WorkerId(holder)).await?;
    }
    let unattended = loaded.state.changed_midway() && !rows::any_lately(tx).await?;
    if let Some(events) = follow::end_by_cancel(&loaded.state, login, unattended) {
        let op = Op::end(id, &loaded.state, &events).map_err(|source| RunsError::Broken { run: id, source })?;
        if !sql::execute(&**tx, &[&op]).await?.is_empty() {
            return Ok(Cancel::Ended);
        }
    }
    let clock = clock_sql(tx.get_database_backend());
    let sql = format!(
        "UPDATE run SET cancel_requested_at = {clock}, cancel_requested_by = $2 WHERE id = $1 AND cancel_requested_at IS NULL"
    );
    tx.execute_raw(sql_with(&**tx, sql, [id.0.into(), login.into()])).await?;
    Ok(Cancel::Asked)
}

/// A wish to cancel that nobody living can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which run.
    pub run: RunId,
    /// Its deployment.
    pub deployment: String,
    /// Who asked.
    pub login: String,
    /// When, and of which run: the next look goes on behind it.
    pub place: Place,
}

/// Wishes to cancel runs that nobody living holds, oldest first, behind a place: their worker was lost before it saw them. They need no worker to
/// end, so that whoever is there asks again ([`cancel`]).
///
/// # Errors
/// The database's error.
pub async fn unseen(db: &Db, behind: Place) -> Result<Vec<Wish>, DbErr> {
    let clock = clock_sql(db.pool().get_database_backend());
    let sql = format!(
        "SELECT r.id AS id, r.deployment_id AS deployment, r.cancel_requested_by AS login, r.cancel_requested_at AS at
FROM run r LEFT JOIN worker w ON w.id = r.worker_id
WHERE r.cancel_requested_at IS NOT NULL AND r.ended_at IS NULL AND (r.cancel_requested_at, r.id) > ($1, $2)
  AND (w.id IS NULL OR w.ended_at IS NOT NULL OR w.lease_until < {clock})
ORDER BY r.cancel_requested_at, r.id LIMIT $3"
    );
    let values = [behind.requested_at.into(), behind.run.into(), (AT_ONCE as i64).into()];
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, values)).await?;
    let wish = |row: &sea_orm::QueryResult| {
        let run = row.try_get("", "id")?;
        Ok(Wish {
            run: RunId(run),
            deployment: row.try_get("", "deployment")?,
            login: row.try_get("", "login")?,
            place: Place { requested_at: row.try_get("", "at")?, run },
        })
    };
    rows.iter().map(wish).collect()
}
