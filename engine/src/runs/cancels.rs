//! Cancelling a run, inside the caller's transaction. A run that nobody living holds ends there; whoever holds it is asked.

use sea_orm::{ConnectionTrait, DbErr};

use super::{RunsError, due::Place, op::Op, read, sql};
use crate::{
    db::{Db, Tx, clock_sql, sql_with},
    ids::RunId,
    journal::{NewEvent, State, follow},
};

/// So many wishes one look finds at most.
pub const AT_ONCE: usize = 200;

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

/// Asks to cancel. A run that nobody living holds ends here, unless a worker must look after the node, or put something back: then it is asked,
/// too. A STUCK one ends by it.
///
/// # Errors
/// The database, or a broken journal.
pub async fn cancel(tx: &Tx, id: RunId, login: &str) -> Result<Cancel, RunsError> {
    tx.lock("run", "id = $1", id.0).await?;
    let Some(loaded) = read::load(&**tx, id).await? else { return Ok(Cancel::Absent) };
    if loaded.row.ended_at.is_some() {
        return Ok(Cancel::AlreadyEnded);
    }
    let state = &loaded.state;
    let events = follow::end_stuck_by_cancel(state, login).or_else(|| follow::end_by_cancel(state, login, false));
    if end(tx, id, state, events).await? {
        return Ok(Cancel::Ended);
    }
    let clock = clock_sql(tx.get_database_backend());
    let sql = format!(
        "UPDATE run SET cancel_requested_at = {clock}, cancel_requested_by = $2 WHERE id = $1 AND cancel_requested_at IS NULL"
    );
    tx.execute_raw(sql_with(&**tx, sql, [id.0.into(), login.into()])).await?;
    Ok(Cancel::Asked)
}

/// Ends a run that somebody asked to cancel, and that nobody living holds. `unattended`: workers had the time to take it, and none did. False when
/// somebody holds it, when it is STUCK or has ended, and when it waits for a worker all the same.
///
/// # Errors
/// The database, or a broken journal.
pub async fn end_unseen(tx: &Tx, id: RunId, unattended: bool) -> Result<bool, RunsError> {
    tx.lock("run", "id = $1", id.0).await?;
    let Some(loaded) = read::load(&**tx, id).await? else { return Ok(false) };
    let Some(login) = loaded.row.cancel_requested_by.filter(|_| loaded.row.ended_at.is_none()) else {
        return Ok(false);
    };
    end(tx, id, &loaded.state, follow::end_by_cancel(&loaded.state, &login, unattended)).await
}

async fn end(tx: &Tx, id: RunId, state: &State, events: Option<Vec<NewEvent>>) -> Result<bool, RunsError> {
    let Some(events) = events else { return Ok(false) };
    let op = Op::end(id, state, &events).map_err(|source| RunsError::Broken { run: id, source })?;
    Ok(!sql::execute(&**tx, &[&op]).await?.is_empty())
}

/// A wish to cancel that nobody living can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which run.
    pub run: RunId,
    /// Its deployment.
    pub deployment: String,
    /// Its holder's lease lapsed, and nobody has ended it yet.
    pub lapsed: bool,
    /// When, and of which run: the next look goes on behind it.
    pub place: Place,
}

/// Wishes to cancel runs that nobody living holds, oldest first, behind a place: their worker was lost before it saw them, or none has come. They
/// need none to end ([`end_unseen`]). STUCK runs are not among them: somebody has to decide on those.
///
/// # Errors
/// The database's error.
pub async fn unseen(db: &Db, behind: Place) -> Result<Vec<Wish>, DbErr> {
    let clock = clock_sql(db.pool().get_database_backend());
    let sql = format!(
        "SELECT r.id AS id, r.deployment_id AS deployment, r.cancel_requested_at AS at,
  CAST(CASE WHEN w.id IS NOT NULL AND w.ended_at IS NULL THEN 1 ELSE 0 END AS BIGINT) AS lapsed
FROM run r LEFT JOIN worker w ON w.id = r.worker_id
WHERE r.cancel_requested_at IS NOT NULL AND r.ended_at IS NULL AND r.status <> 'STUCK' AND (r.cancel_requested_at, r.id) > ($1, $2)
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
            lapsed: row.try_get::<i64>("", "lapsed")? == 1,
            place: Place { requested_at: row.try_get("", "at")?, run },
        })
    };
    rows.iter().map(wish).collect()
}
