//! What a process that others follow reads for all of them at once: numbers alone, never shown to anybody. Whoever is told that something moved
//! reads it with the rights of whom it is for.

use engine::{ids::RunId, journal::Status};
use entities::run;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, EntityTrait as _, QueryFilter as _, QueryResult, QuerySelect as _,
    sea_query::{Alias, Expr, ExprTrait as _, Query},
};

use crate::{Deployer, error::Result};

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// The newest event.
    pub seq: i64,
    /// The newest line of its log; 0 before the first.
    pub log_seq: i64,
    /// It has ended.
    pub ended: bool,
}

/// Where a deployment stands: differs from an earlier one if anything that is shown of it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Counts changes of its settings.
    pub version: i64,
    /// When it was made, in µs since the Unix epoch: the same id may be given again.
    pub created_at: i64,
    /// The newest update's id, newest event and status.
    pub newest: Option<(i64, i64, String)>,
}

/// How far these runs have come; one query. A run that is gone is not in the answer.
///
/// # Errors
/// Faults only.
pub async fn newest(deployer: &Deployer, runs: &[RunId]) -> Result<Vec<(RunId, Newest)>> {
    use entities::run_log;
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let last_line = Query::select()
        .expr(Expr::col((run_log::Entity, run_log::Column::Seq)).max())
        .from(run_log::Entity)
        .and_where(Expr::col((run_log::Entity, run_log::Column::RunId)).equals((run::Entity, run::Column::Id)))
        .to_owned();
    let rows: Vec<(i64, i64, String, Option<i64>)> = run::Entity::find()
        .select_only()
        .columns([run::Column::Id, run::Column::Seq, run::Column::Status])
        .expr_as(Expr::SubQuery(None, Box::new(last_line.into())), "log_seq")
        .filter(run::Column::Id.is_in(runs.iter().map(|run| run.0)))
        .into_tuple()
        .all(deployer.db.pool())
        .await?;
    let newest = |(id, seq, status, log_seq): (i64, i64, String, Option<i64>)| {
        let ended = status.parse().is_ok_and(Status::is_final);
        (RunId(id), Newest { seq, log_seq: log_seq.unwrap_or_default(), ended })
    };
    Ok(rows.into_iter().map(newest).collect())
}

/// Where deployments stand: all of them, or those whose runs these are. One query over narrow rows.
///
/// # Errors
/// Faults only.
pub async fn standings(deployer: &Deployer, of: Option<&[RunId]>) -> Result<Vec<(String, Standing)>> {
    use entities::deployment::{Column, Entity};
    let db = deployer.db.pool();
    let mut query = Query::select();
    query
        .columns([(Entity, Column::Id), (Entity, Column::Version), (Entity, Column::CreatedAt)])
        .expr_as(Expr::col((run::Entity, run::Column::Id)), Alias::new("run_id"))
        .columns([(run::Entity, run::Column::Seq), (run::Entity, run::Column::Status)])
        .from(Entity)
        .left_join(
            run::Entity,
            Expr::col((run::Entity, run::Column::DeploymentId))
                .equals((Entity, Column::Id))
                .and(Expr::col((run::Entity, run::Column::RunNo)).equals((Entity, Column::LastRunNo))),
        );
    if let Some(runs) = of {
        let moved = Query::select()
            .column(run::Column::DeploymentId)
            .from(run::Entity)
            .and_where(run::Column::Id.is_in(runs.iter().map(|run| run.0)))
            .to_owned();
        query.and_where(Expr::col((Entity, Column::Id)).in_subquery(moved));
    }
    let standing = |row: QueryResult| {
        let run: Option<i64> = row.try_get("", "run_id")?;
        let newest = match run {
            Some(run) => Some((run, row.try_get("", "seq")?, row.try_get("", "status")?)),
            None => None,
        };
        let id: String = row.try_get("", "id")?;
        Ok((id, Standing { version: row.try_get("", "version")?, created_at: row.try_get("", "created_at")?, newest }))
    };
    db.query_all(&query).await?.into_iter().map(standing).collect()
}
