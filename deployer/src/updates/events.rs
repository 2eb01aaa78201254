//! An update's journal and log, piece by piece: without specs, notes, outputs or secrets.

use engine::{
    ids::RunId,
    journal::{Event, Kind, Status, Then},
    runs,
    spec::RunSpec,
};
use entities::{deployment, run};
use sea_orm::EntityTrait as _;

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
    let Some(rights) = see(deployer, viewer, id).await? else { return Ok(None) };
    let db = deployer.db.pool();
    let events = runs::events(db, id, after_seq.max(0), limit.min(MOST)).await?;
    // The names of steps stand in event 1.
    let first = if events.first().is_some_and(|event| event.seq == 1) {
        events.first().cloned()
    } else {
        runs::events(db, id, 0, 1).await?.pop()
    };
    let Some(Kind::Requested { spec }) = first.map(|event| event.kind) else { return Ok(Some(Vec::new())) };
    let mentioned = events.iter().flat_map(|event| holders_of(&event.kind).iter().copied()).collect();
    let mentioned = Mentioned::read(db, viewer, mentioned).await?;
    let admin = rights.infrastructure >= Level::Admin;
    Ok(Some(events.iter().map(|event| render(event, &spec, admin, &mentioned)).collect()))
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
    let Some(rights) = see(deployer, viewer, id).await? else { return Ok(None) };
    let admin = rights.infrastructure >= Level::Admin;
    let rows = runs::log_lines(deployer.db.pool(), id, after_seq.max(0), limit.min(MOST), admin).await?;
    let line = |row: runs::LogLine| LogLine {
        seq: row.seq,
        at: row.at,
        step: row.step.and_then(|step| usize::try_from(step).ok()),
        attempt: row.attempt.and_then(|attempt| u32::try_from(attempt).ok()),
        stream: row.stream,
        admins_only: row.admins_only,
        line: row.line,
    };
    Ok(Some(rows.into_iter().map(line).collect()))
}

/// The viewer's rights on the run's deployment, if they may see it.
async fn see(deployer: &Deployer, viewer: &Viewer, id: RunId) -> Result<Option<DeploymentRights>> {
    let db = deployer.db.pool();
    let Some(run) = run::Entity::find_by_id(id.0).one(db).await? else { return Ok(None) };
    let Some(row) = deployment::Entity::find_by_id(run.deployment_id).one(db).await? else { return Ok(None) };
    let rights = rights::deployment_rights(db, viewer, std::slice::from_ref(&row)).await?;
    Ok(rights.get(&row.id).copied().filter(|rights| rights.may(Access::See)))
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
