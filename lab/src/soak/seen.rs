//! Everything that was left behind, read straight from the database.

use std::{collections::BTreeMap, time::Duration};

use engine::{db::Db, ids::RunId, journal::Kind, runs, spec::RunSpec};
use entities::{run, run_event, worker};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::Value;
use tokio::time::Instant;

use super::traffic::Book;
use crate::failure::LabError;

/// What the database holds.
#[derive(Debug)]
pub(super) struct Seen {
    /// By id, which is in order of time.
    pub(super) runs: BTreeMap<i64, Run>,
    pub(super) workers: Vec<worker::Model>,
}

/// A run with its journal.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) row: run::Model,
    pub(super) spec: Option<RunSpec>,
    pub(super) events: Vec<run_event::Model>,
}

impl Run {
    /// The code of its failure, if it has one.
    pub(super) fn code(&self) -> Option<String> {
        let last = self.events.iter().rev().find(|event| event.kind == "Finished" || event.kind == "Stuck")?;
        let data: Value = serde_json::from_str(&last.data).ok()?;
        data["failure"]["code"].as_str().map(str::to_owned)
    }

    /// The place of the step of this name in its plan.
    pub(super) fn step(&self, name: &str) -> Option<i64> {
        let steps = &self.spec.as_ref()?.plan.steps;
        steps.iter().position(|step| step.name == name).and_then(|place| i64::try_from(place).ok())
    }
}

impl Seen {
    pub(super) async fn read(db: &Db) -> Result<Self, LabError> {
        let rows = run::Entity::find().all(db.pool()).await?;
        let mut runs: BTreeMap<i64, Run> =
            rows.into_iter().map(|row| (row.id, Run { row, spec: None, events: Vec::new() })).collect();
        let events = run_event::Entity::find()
            .order_by_asc(run_event::Column::RunId)
            .order_by_asc(run_event::Column::Seq)
            .all(db.pool())
            .await?;
        for event in events {
            let Some(run) = runs.get_mut(&event.run_id) else { continue };
            if event.seq == 1
                && let Ok(Kind::Requested { spec }) = Kind::from_row(&event.kind, &event.data)
            {
                run.spec = Some(*spec);
            }
            run.events.push(event);
        }
        Ok(Self { runs, workers: worker::Entity::find().all(db.pool()).await? })
    }
}

/// Waits until every run has ended or is stuck; answers those that have not, and those that were accepted and are not there.
pub(super) async fn until_over(db: &Db, book: &Book, patience: Duration) -> Result<Open, LabError> {
    let end = Instant::now() + patience;
    loop {
        let rows = run::Entity::find().all(db.pool()).await?;
        let unended: Vec<i64> = rows
            .iter()
            .filter(|row| row.ended_at.is_none() && row.status != "STUCK")
            // What waits behind a stuck one waits for the same human.
            .filter(|row| !rows.iter().any(|other| other.status == "STUCK" && other.deployment_id == row.deployment_id))
            .map(|row| row.id)
            .collect();
        if unended.is_empty() || Instant::now() > end {
            let absent = book.accepted.iter().map(|(run, ..)| *run).filter(|id| !rows.iter().any(|row| row.id == *id));
            return Ok(Open { unended, absent: absent.collect() });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What was promised and did not come.
#[derive(Clone, Debug, Default)]
pub(super) struct Open {
    pub(super) unended: Vec<i64>,
    pub(super) absent: Vec<i64>,
}

/// The most workers that any attempt under way has lost.
pub(super) async fn most_lost(db: &Db) -> Result<u32, LabError> {
    let rows = run::Entity::find().filter(run::Column::EndedAt.is_null()).all(db.pool()).await?;
    let mut most = 0;
    for row in rows.iter().filter(|row| row.epoch > 1) {
        let Ok(Some(loaded)) = runs::load(db.pool(), RunId(row.id)).await else { continue };
        most = most.max(loaded.state.under_way().map_or(0, |(_, attempt)| attempt.lapses()));
    }
    Ok(most)
}

/// The names of the workers that hold runs, the busiest last.
pub(super) async fn busy(db: &Db) -> Result<Vec<String>, LabError> {
    let held = run::Entity::find().filter(run::Column::WorkerId.is_not_null()).all(db.pool()).await?;
    let workers = worker::Entity::find().filter(worker::Column::EndedAt.is_null()).all(db.pool()).await?;
    let load = |worker: &worker::Model| held.iter().filter(|run| run.worker_id == Some(worker.id)).count();
    let mut busy: Vec<(usize, String)> =
        workers.iter().map(|worker| (load(worker), worker.name.clone())).filter(|(load, _)| *load > 0).collect();
    busy.sort();
    Ok(busy.into_iter().map(|(_, name)| name).collect())
}
