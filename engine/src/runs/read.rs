//! Reading journals and logs.

use std::collections::HashMap;

use entities::{run, run_event, run_log};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{RunsError, log::LogLine};
use crate::{
    db::sql_with,
    ids::RunId,
    journal::{Event, Kind, State},
    plan::PLAN_VERSION,
};

/// A run with its folded journal.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The row.
    pub row: run::Model,
    /// The fold.
    pub state: State,
}

/// One run; None when there is no such run.
///
/// # Errors
/// The database, or a journal that does not fold.
pub async fn load<C: ConnectionTrait>(db: &C, id: RunId) -> Result<Option<Loaded>, RunsError> {
    // The events first: a row that is newer than its fold is a refused write, not a wrong one.
    let events = match events(db, id, 0, u64::MAX >> 1).await {
        Err(RunsError::Json(error)) => return Err(newer(db, id).await?.unwrap_or(RunsError::Json(error))),
        events => events?,
    };
    let Some(row) = row(db, id).await? else { return Ok(None) };
    let state = State::fold(&events).map_err(|source| RunsError::Broken { run: id, source })?;
    Ok(Some(Loaded { row, state }))
}

/// Whether a run that cannot be read is of a later version than this program.
async fn newer<C: ConnectionTrait>(db: &C, id: RunId) -> Result<Option<RunsError>, RunsError> {
    let Some(first) = run_event::Entity::find_by_id((id.0, 1)).one(db).await? else { return Ok(None) };
    let data: serde_json::Value = serde_json::from_str(&first.data)?;
    let version = data.pointer("/spec/plan/version").and_then(serde_json::Value::as_u64);
    Ok(version.filter(|version| *version > u64::from(PLAN_VERSION)).map(|version| RunsError::Newer { version }))
}

pub(crate) async fn row<C: ConnectionTrait>(db: &C, id: RunId) -> Result<Option<run::Model>, sea_orm::DbErr> {
    run::Entity::find_by_id(id.0).one(db).await
}

/// Several runs in two queries; absent ones are left out.
///
/// # Errors
/// As [`load`].
pub async fn load_many<C: ConnectionTrait>(db: &C, ids: &[RunId]) -> Result<Vec<Loaded>, RunsError> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let rows = run_event::Entity::find()
        .filter(run_event::Column::RunId.is_in(ids.iter().copied()))
        .order_by_asc(run_event::Column::RunId)
        .order_by_asc(run_event::Column::Seq)
        .all(db)
        .await?;
    let mut journals: HashMap<i64, Vec<Event>> = HashMap::new();
    for row in rows {
        journals.entry(row.run_id).or_default().push(event(row)?);
    }
    let rows = run::Entity::find().filter(run::Column::Id.is_in(ids)).all(db).await?;
    let fold = |row: run::Model| {
        let id = RunId(row.id);
        let journal = journals.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let state = State::fold(journal).map_err(|source| RunsError::Broken { run: id, source })?;
        Ok(Loaded { row, state })
    };
    rows.into_iter().map(fold).collect()
}

/// The events after `after`, in order, `limit` at most.
///
/// # Errors
/// The database, or an event that this version cannot read.
pub async fn events<C: ConnectionTrait>(db: &C, id: RunId, after: i64, limit: u64) -> Result<Vec<Event>, RunsError> {
    run_event::Entity::find()
        .filter(run_event::Column::RunId.eq(id.0))
        .filter(run_event::Column::Seq.gt(after))
        .order_by_asc(run_event::Column::Seq)
        .limit(limit)
        .all(db)
        .await?
        .into_iter()
        .map(event)
        .collect()
}

/// The events after `after` of each of these runs, in order, `limit` of each at most: one query, however many runs.
///
/// # Errors
/// As [`events`].
pub async fn events_of<C: ConnectionTrait>(
    db: &C,
    ids: &[RunId],
    after: i64,
    limit: u64,
) -> Result<HashMap<RunId, Vec<Event>>, RunsError> {
    let sql = first_of_each("run_event", "run_id, seq, at, epoch, kind, step, attempt, data", ids, "true");
    let statement = sql_with(db, sql, [after.into(), window(limit).into()]);
    let mut found: HashMap<RunId, Vec<Event>> = HashMap::new();
    for row in run_event::Entity::find().from_raw_sql(statement).all(db).await? {
        found.entry(RunId(row.run_id)).or_default().push(event(row)?);
    }
    Ok(found)
}

/// The log lines after `after` of each of these runs, in order, `limit` of each at most; those for infrastructure administrators alone only
/// of the runs in `admins`.
///
/// # Errors
/// The database.
pub async fn log_lines_of<C: ConnectionTrait>(
    db: &C,
    ids: &[RunId],
    admins: &[RunId],
    after: i64,
    limit: u64,
) -> Result<HashMap<RunId, Vec<LogLine>>, RunsError> {
    let condition = format!("(NOT admins_only OR run_id IN ({}))", numbers(admins));
    let columns = "run_id, seq, at, step, attempt, stream, admins_only, line";
    let sql = first_of_each("run_log", columns, ids, &condition);
    let statement = sql_with(db, sql, [after.into(), window(limit).into()]);
    let mut found: HashMap<RunId, Vec<LogLine>> = HashMap::new();
    for line in run_log::Entity::find().from_raw_sql(statement).all(db).await? {
        found.entry(RunId(line.run_id)).or_default().push(line);
    }
    Ok(found)
}

/// The first rows of each run after $1, $2 of each. Columns by name: one that a later version adds must not change what a prepared statement answers.
fn first_of_each(table: &str, columns: &str, ids: &[RunId], condition: &str) -> String {
    format!(
        "SELECT {columns} FROM (SELECT {columns}, ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY seq) AS place FROM {table}
  WHERE run_id IN ({}) AND seq > $1 AND {condition}) numbered WHERE place <= $2 ORDER BY run_id, seq",
        numbers(ids)
    )
}

/// For an IN list; NULL is in none.
fn numbers(ids: &[RunId]) -> String {
    ids.iter()
        .map(|id| id.0.to_string())
        .chain((ids.is_empty()).then(|| "NULL".to_owned()))
        .collect::<Vec<_>>()
        .join(",")
}

fn window(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn event(row: run_event::Model) -> Result<Event, RunsError> {
    Ok(Event {
        seq: row.seq,
        at: row.at,
        epoch: row.epoch,
        step: row.step.and_then(|step| usize::try_from(step).ok()),
        attempt: row.attempt.and_then(|attempt| u32::try_from(attempt).ok()),
        kind: Kind::from_row(&row.kind, &row.data)?,
    })
}
