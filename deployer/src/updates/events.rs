//! An update's journal and log, piece by piece: without specs, notes, outputs or secrets.

use std::collections::{BTreeSet, HashMap};

use engine::{
    ids::RunId,
    journal::{Event, Kind, Status, Then},
    runs,
    spec::RunSpec,
};
use entities::{deployment, run};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::{
    steps::Trouble,
    waiting::{Holders, Mentioned},
};
use crate::{
    Deployer,
    error::Result,
    rights::{self, Access, DeploymentRights, Level},
    viewer::Viewer,
};

/// The most events or log lines that one call answers.
pub const MOST: u64 = 1_000;

/// One entry of an update's journal, as one viewer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateEvent {
    /// From 1, without a gap.
    pub seq: i64,
    /// When, in µs since the Unix epoch.
    pub at: i64,
    /// What kind of event, such as `StepStarted`.
    pub kind: &'static str,
    /// The step's index, from 0.
    pub step: Option<usize>,
    /// Its name, such as `push_bundle` or `pre_hooks/1`.
    pub step_name: Option<String>,
    /// Its attempt, from 1.
    pub attempt: Option<u32>,
    /// How the update ended.
    pub status: Option<Status>,
    /// Why something failed.
    pub failure: Option<Trouble>,
    /// Another attempt follows.
    pub retried: bool,
    /// The pool of a slot.
    pub pool: Option<String>,
    /// Who held the slots.
    pub holders: Option<Holders>,
    /// How long a wait is, or was, in milliseconds.
    pub wait_ms: Option<i64>,
    /// What a step warned of.
    pub warnings: Vec<String>,
    /// Who asked for it: a login.
    pub by: Option<String>,
}

/// One line of an update's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Grows; may have gaps.
    pub seq: i64,
    /// When, in µs since the Unix epoch.
    pub at: i64,
    /// The step's index, from 0.
    pub step: Option<usize>,
    /// Its attempt.
    pub attempt: Option<u32>,
    /// STEP, STDOUT, STDERR or TRACEBACK.
    pub stream: String,
    /// Only administrators of the infrastructure see it.
    pub admins_only: bool,
    /// At most 8 KiB.
    pub line: String,
}

/// The events after `after_seq`, in order, at most [`MOST`]. None if there is no such update that the viewer may see: rights are asked each time.
///
/// # Errors
/// Faults only.
pub async fn events(
    deployer: &Deployer,
    viewer: &Viewer,
    id: RunId,
    after_seq: i64,
    limit: u64,
) -> Result<Option<Vec<UpdateEvent>>> {
    Ok(events_of(deployer, viewer, &[id], after_seq, limit).await?.remove(&id))
}

/// The same window of the journals of several updates: a handful of queries, however many. Those that the viewer may not see are left out.
///
/// # Errors
/// Faults only.
pub async fn events_of(
    deployer: &Deployer,
    viewer: &Viewer,
    ids: &[RunId],
    after_seq: i64,
    limit: u64,
) -> Result<HashMap<RunId, Vec<UpdateEvent>>> {
    let seen = see(deployer, viewer, ids).await?;
    let ids: Vec<RunId> = seen.keys().copied().collect();
    let db = deployer.db.pool();
    let mut journals = runs::events_of(db, &ids, after_seq.max(0), limit.min(MOST)).await?;
    // The names of steps stand in event 1.
    let firsts = runs::events_of(db, &ids, 0, 1).await?;
    let mentioned = journals.values().flatten().flat_map(|event| holders_of(&event.kind).iter().copied()).collect();
    let mentioned = Mentioned::read(db, viewer, mentioned).await?;
    let each = seen.into_iter().map(|(id, rights)| {
        let journal = journals.remove(&id).unwrap_or_default();
        let admin = rights.infrastructure >= Level::Admin;
        let spec = firsts.get(&id).and_then(|first| first.first()).and_then(|event| match &event.kind {
            Kind::Requested { spec } => Some(spec),
            _ => None,
        });
        let shown = spec.map(|spec| journal.iter().map(|event| render(event, spec, admin, &mentioned)).collect());
        (id, shown.unwrap_or_default())
    });
    Ok(each.collect())
}

/// The log lines after `after_seq`, in order, at most [`MOST`]; those for administrators of the infrastructure only for them.
/// None if there is no such update that the viewer may see.
///
/// # Errors
/// Faults only.
pub async fn log(
    deployer: &Deployer,
    viewer: &Viewer,
    id: RunId,
    after_seq: i64,
    limit: u64,
) -> Result<Option<Vec<LogLine>>> {
    Ok(log_of(deployer, viewer, &[id], after_seq, limit).await?.remove(&id))
}

/// The same window of the logs of several updates, as [`events_of`] of their journals.
///
/// # Errors
/// Faults only.
pub async fn log_of(
    deployer: &Deployer,
    viewer: &Viewer,
    ids: &[RunId],
    after_seq: i64,
    limit: u64,
) -> Result<HashMap<RunId, Vec<LogLine>>> {
    let seen = see(deployer, viewer, ids).await?;
    let ids: Vec<RunId> = seen.keys().copied().collect();
    let admins: Vec<RunId> =
        seen.iter().filter(|(_, rights)| rights.infrastructure >= Level::Admin).map(|(id, _)| *id).collect();
    let mut logs = runs::log_lines_of(deployer.db.pool(), &ids, &admins, after_seq.max(0), limit.min(MOST)).await?;
    let line = |row: runs::LogLine| LogLine {
        seq: row.seq,
        at: row.at,
        step: row.step.and_then(|step| usize::try_from(step).ok()),
        attempt: row.attempt.and_then(|attempt| u32::try_from(attempt).ok()),
        stream: row.stream,
        admins_only: row.admins_only,
        line: row.line,
    };
    let mut lines = |id| logs.remove(&id).unwrap_or_default().into_iter().map(line).collect();
    Ok(ids.into_iter().map(|id| (id, lines(id))).collect())
}

/// Those of these runs that the viewer may see, with the rights on their deployments.
async fn see(deployer: &Deployer, viewer: &Viewer, ids: &[RunId]) -> Result<HashMap<RunId, DeploymentRights>> {
    let db = deployer.db.pool();
    let runs = run::Entity::find().filter(run::Column::Id.is_in(ids.iter().map(|id| id.0))).all(db).await?;
    let deployments: BTreeSet<&str> = runs.iter().map(|run| run.deployment_id.as_str()).collect();
    let rows = deployment::Entity::find().filter(deployment::Column::Id.is_in(deployments)).all(db).await?;
    let rights = rights::deployment_rights(db, viewer, &rows).await?;
    let seen = runs.iter().filter_map(|run| {
        let rights = rights.get(&run.deployment_id).copied().filter(|rights| rights.may(Access::See))?;
        Some((RunId(run.id), rights))
    });
    Ok(seen.collect())
}

fn holders_of(kind: &Kind) -> &[RunId] {
    match kind {
        Kind::SlotWaiting { holders, .. } | Kind::SlotTimedOut { holders, .. } => holders,
        _ => &[],
    }
}

fn render(event: &Event, spec: &RunSpec, admin: bool, mentioned: &Mentioned) -> UpdateEvent {
    let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let mut shown = UpdateEvent {
        seq: event.seq,
        at: event.at,
        kind: event.kind.name(),
        step: event.step,
        step_name: event.step.and_then(|step| spec.plan.steps.get(step)).map(|step| step.name.clone()),
        attempt: event.attempt,
        status: None,
        failure: None,
        retried: false,
        pool: None,
        holders: None,
        wait_ms: None,
        warnings: Vec::new(),
        by: None,
    };
    match &event.kind {
        Kind::Requested { spec } => shown.by = Some(spec.requester.clone()),
        Kind::CancelRequested { by } | Kind::Abandoned { by } => shown.by = Some(by.clone()),
        Kind::SlotWaiting { pool, wait_ms, holders } | Kind::SlotTimedOut { pool, waited_ms: wait_ms, holders } => {
            shown.pool = Some(pool.clone());
            shown.wait_ms = Some(millis(*wait_ms));
            shown.holders = Some(mentioned.render(holders.iter().copied()));
        }
        Kind::SlotGranted { pool, .. } => shown.pool = Some(pool.clone()),
        Kind::StepSucceeded { warnings, .. } => shown.warnings.clone_from(warnings),
        Kind::StepYielded { check_in_us } => shown.wait_ms = Some(check_in_us / 1_000),
        Kind::Parked { delay_us } => shown.wait_ms = Some(delay_us / 1_000),
        Kind::StepFailed { failure, then } => {
            shown.failure = Some(Trouble::of(failure, admin));
            shown.retried = *then == Then::Retry;
        }
        Kind::Stuck { failure } => {
            shown.failure = Some(Trouble::of(failure, admin));
            shown.status = Some(Status::Stuck);
        }
        Kind::Finished { status, failure } => {
            shown.status = Some(*status);
            shown.failure = failure.as_ref().map(|failure| Trouble::of(failure, admin));
        }
        // Facts of a step are its own business; what a worker says when it leaves is for its operator's log.
        Kind::Claimed { .. } | Kind::StepStarted | Kind::StepNoted { .. } | Kind::LeaseReleased { .. } => {}
    }
    shown
}
