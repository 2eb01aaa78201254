//! Starting, retrying, cancelling and abandoning an update. The deployment's row is locked first: requests for one deployment take turns.

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    db::Tx,
    ids::RunId,
    journal::{State, Status},
    plan::{OnFailure, PlannedStep},
    runs::{self, Cancel, due},
    spec::{Inherited, RunSpec},
};
use entities::{deployment, run};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::{Value, json};
use targets::{automation::notes, spec::DeploySpec};

use super::{
    idempotency::Request,
    kind::UpdateType,
    list::get,
    purpose::{self, Purpose},
    restore::packages,
    view::Update,
};
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    bundles::{self, BundleKey, Hold},
    deployments,
    error::{Error, Problems, Result},
    freeze, hooks, infrastructures, names,
    rights::{self, Access},
    viewer::Viewer,
};

/// The key in a spec's body under which a retry names the update that it retries.
pub(crate) const RETRY_OF: &str = "retry_of";

/// An accepted request.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The update.
    pub update: Update,
    /// An earlier request with the same idempotency key made it.
    pub repeated: bool,
}

/// Starts an update of a deployment. Once this answers, the update ends, or is STUCK and says what a human must decide.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `IDEMPOTENCY_KEY_INVALID`, `IDEMPOTENCY_MISMATCH`; `DEPLOYMENT_STUCK`;
/// `ADMIN_KEY_MISSING`; `BUNDLE_UNKNOWN`; `DEPLOYMENT_DISABLED`; `DEPLOYMENT_DELETED`.
pub async fn start(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    idempotency_key: Option<&str>,
) -> Result<Accepted> {
    ask(deployer, viewer, deployment_id, Purpose::Update(None), idempotency_key).await
}

/// Sets a deployment's bundle and starts its update, in one: of two who deploy at the same time each has its own bundle deployed, and a request that is
/// repeated changes nothing.
///
/// # Errors
/// Those of [`start`]; `ID_INVALID`, `BUNDLE_UNKNOWN` by `bundleId`; `GOVERNANCE_WARNING`, `PROJECT_STANDARDS_WARNING` where the infrastructure's
/// policies warn of a bundle that is not set yet.
pub async fn deploy(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    bundle_id: &str,
    idempotency_key: Option<&str>,
) -> Result<Accepted> {
    ask(deployer, viewer, deployment_id, Purpose::Update(Some(bundle_id)), idempotency_key).await
}

/// Puts back what was live before, by an update of its own: what the last successful update before the live one deployed, or the one that `to` names. Where an
/// update failed half-way, that is what was live before it. The deployment is set to match.
///
/// # Errors
/// Those of [`start`]; `UPDATE_RUNNING` while an update has not ended; `RESTORE_NOT_POSSIBLE`; `DEPLOYMENT_DISABLED`; `DEPLOYMENT_DELETED`.
pub async fn restore(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    to: Option<RunId>,
    idempotency_key: Option<&str>,
) -> Result<Accepted> {
    ask(deployer, viewer, deployment_id, Purpose::Restore(to), idempotency_key).await
}

/// Disables a deployment: an update switches its scenarios off and stops its web apps on the node, and from now on it takes no other update.
///
/// # Errors
/// Those of [`start`]; `DEPLOYMENT_DELETED`.
pub async fn disable(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    idempotency_key: Option<&str>,
) -> Result<Accepted> {
    ask(deployer, viewer, deployment_id, Purpose::Disable, idempotency_key).await
}

/// Enables a disabled deployment: an update deploys it, with scenarios and web apps as they were before it was disabled.
///
/// # Errors
/// Those of [`start`]; `DEPLOYMENT_NOT_DISABLED`; `DEPLOYMENT_DELETED`.
pub async fn enable(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    idempotency_key: Option<&str>,
) -> Result<Accepted> {
    ask(deployer, viewer, deployment_id, Purpose::Enable, idempotency_key).await
}

/// Asks for an update, whatever for.
pub(crate) async fn ask(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    purpose: Purpose<'_>,
    idempotency_key: Option<&str>,
) -> Result<Accepted> {
    let object = Object::new(ObjectKind::Deployment, deployment_id);
    let act = &Act::new(deployer, viewer, purpose.operation(), object);
    act.run(|| ask_once(deployer, viewer, deployment_id, purpose, idempotency_key, act)).await
}

async fn ask_once(
    deployer: &Deployer,
    viewer: &Viewer,
    deployment_id: &str,
    purpose: Purpose<'_>,
    idempotency_key: Option<&str>,
    act: &Act<'_>,
) -> Result<Accepted> {
    let field = purpose.field();
    let row = rights::require_deployment(deployer.db.pool(), viewer, deployment_id, Access::Change, field).await?;
    let arguments = purpose.arguments();
    let request = idempotency_key.map(|key| Request::new(&viewer.login, deployment_id, key, &arguments)).transpose()?;
    if let Some(bundle) = purpose.bundle() {
        check_bundle(deployer, viewer, &row, bundle, request.as_ref()).await?;
    }
    let tx = deployer.db.begin().await?;
    let row = deployments::write::lock(&tx, viewer, deployment_id, field).await?;
    act.before(&tx).await?;
    if let Some(request) = &request
        && let Some(run) = request.first(&tx).await?
    {
        drop(tx);
        act.update(run);
        return accepted(deployer, viewer, run, true).await;
    }
    refuse_stuck(&tx, deployment_id, field).await?;
    purpose.check(&tx, &row).await?;
    let spec = purpose.spec(&tx, row, viewer).await?;
    finish(deployer, viewer, tx, deployment_id, &spec, request, act).await
}

/// Whether the deployment may be set to this bundle. Policies are asked while nothing is locked: a source may take seconds. A repeated request sets nothing.
async fn check_bundle(
    deployer: &Deployer,
    viewer: &Viewer,
    row: &deployment::Model,
    bundle: &str,
    request: Option<&Request<'_>>,
) -> Result<()> {
    let mut problems = Problems::default();
    names::check(bundle, "bundleId", &mut problems);
    problems.check()?;
    if bundle == row.bundle_id {
        return Ok(());
    }
    if let Some(request) = request
        && request.first(&deployer.db.begin().await?).await?.is_some()
    {
        return Ok(());
    }
    deployments::write::heed_warnings(deployer, viewer, row, &row.deployed_project_key, vec![bundle]).await
}

/// Repeats an update that did not succeed: a new one of the same bundle and settings, which takes over notes, and what those pre-deployment hooks answered that
/// are still there with the same code. Every other step looks again, and acts where the node differs. All that the infrastructure's administrators decide is as it
/// is set now: the node's key, the identities, the policies, the hooks and their user. A STUCK update ends by that.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `RETRY_SUPERSEDED` if a later update exists; `RETRY_NOT_POSSIBLE` for one that succeeded or has
/// not ended, or whose infrastructure has another node by now; the errors of [`start`].
pub async fn retry(deployer: &Deployer, viewer: &Viewer, id: RunId, idempotency_key: Option<&str>) -> Result<Accepted> {
    let act = &act(deployer, viewer, "retryUpdate", id);
    act.run(|| retry_once(deployer, viewer, id, idempotency_key, act)).await
}

async fn retry_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: RunId,
    idempotency_key: Option<&str>,
    act: &Act<'_>,
) -> Result<Accepted> {
    let row = require(deployer, viewer, id).await?;
    let arguments = json!({ "operation": "retryUpdate", "update": id.to_string() });
    let request =
        idempotency_key.map(|key| Request::new(&viewer.login, &row.deployment_id, key, &arguments)).transpose()?;
    let tx = deployer.db.begin().await?;
    let deployment = deployments::write::lock(&tx, viewer, &row.deployment_id, "id").await?;
    act.before(&tx).await?;
    if let Some(request) = &request
        && let Some(run) = request.first(&tx).await?
    {
        drop(tx);
        act.update(run);
        return accepted(deployer, viewer, run, true).await;
    }
    let old = runs::load(&*tx, id).await?.ok_or_else(|| Error::not_found("id"))?;
    if old.row.run_no < deployment.last_run_no {
        let message = "A later update of this deployment exists. Retry that one, or start a new update.";
        return Err(Error::field("RETRY_SUPERSEDED", "id", message));
    }
    match old.state.status() {
        Status::Failed | Status::Cancelled | Status::Warning => {}
        Status::Stuck => {
            if !runs::abandon(&tx, id, &viewer.login).await? {
                return Err(Error::refused("RETRY_NOT_POSSIBLE", "The update went on meanwhile. Look at it again."));
            }
        }
        Status::Succeeded => {
            let message = "This update succeeded. Start a new update to deploy again.";
            return Err(Error::field("RETRY_NOT_POSSIBLE", "id", message));
        }
        Status::Queued | Status::Running | Status::Waiting => {
            let message = "This update has not ended. Wait for it, or cancel it first.";
            return Err(Error::field("RETRY_NOT_POSSIBLE", "id", message));
        }
    }
    let kind = UpdateType::of(&old.state.spec);
    if kind == UpdateType::Unknown {
        let message = "This update is of a later version of Slipway. Retry it there, or start a new update.";
        return Err(Error::field("RETRY_NOT_POSSIBLE", "id", message));
    }
    if kind.deploys() && deployments::Settings::read(&deployment.settings)?.disabled {
        return Err(purpose::disabled_refusal());
    }
    if kind.deploys() {
        freeze::refuse_taken(&*tx, &deployment).await?;
    }
    let mut spec = renew(&tx, &deployment, &old.state.spec, &viewer.login).await?;
    let steps = answered(&old.state, &spec);
    kind.mark(&mut spec);
    if !kind.deploys() {
        freeze::ungoverned(&mut spec)?;
    }
    let notes = unsettled_notes(&old.state);
    spec.inherited = Some(Inherited { from: id, steps, notes });
    if let Value::Object(body) = &mut spec.body {
        body.insert(RETRY_OF.to_owned(), json!(id));
    }
    finish(deployer, viewer, tx, &row.deployment_id, &spec, request, act).await
}

/// Asks an update to stop. What its steps did so far stands, unless its deployment restores.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `UPDATE_ENDED`.
pub async fn cancel(deployer: &Deployer, viewer: &Viewer, id: RunId) -> Result<Update> {
    let act = &act(deployer, viewer, "cancelUpdate", id);
    act.run(|| cancel_once(deployer, viewer, id, act)).await
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, id: RunId) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::Update, &id.to_string()))
}

async fn cancel_once(deployer: &Deployer, viewer: &Viewer, id: RunId, act: &Act<'_>) -> Result<Update> {
    let row = require(deployer, viewer, id).await?;
    let tx = deployer.db.begin().await?;
    tx.lock("run", "id = $1", id.0).await?;
    act.before(&tx).await?;
    let cancel = runs::cancel(&tx, id, &viewer.login).await?;
    match cancel {
        Cancel::Ended | Cancel::Asked => {}
        Cancel::AlreadyEnded => return Err(Error::field("UPDATE_ENDED", "id", "This update has ended already.")),
        Cancel::Absent => return Err(Error::not_found("id")),
    }
    act.update(id);
    act.commit(tx).await?;
    if cancel == Cancel::Ended {
        ring_next(deployer, &row.deployment_id).await;
    } else {
        deployer.queue.ring(id);
    }
    tracing::info!(run = %id, by = viewer.login, "an update was cancelled");
    get(deployer, viewer, id).await?.ok_or_else(|| Error::not_found("id"))
}

/// Gives up a STUCK update: it ends as FAILED, and its deployment is free again. Whoever does it has looked at the node.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN` without Deploy on both; `UPDATE_NOT_STUCK`.
pub async fn abandon(deployer: &Deployer, viewer: &Viewer, id: RunId) -> Result<Update> {
    let act = &act(deployer, viewer, "abandonUpdate", id);
    act.run(|| abandon_once(deployer, viewer, id, act)).await
}

async fn abandon_once(deployer: &Deployer, viewer: &Viewer, id: RunId, act: &Act<'_>) -> Result<Update> {
    let row = require(deployer, viewer, id).await?;
    let tx = deployer.db.begin().await?;
    act.before(&tx).await?;
    if !runs::abandon(&tx, id, &viewer.login).await? {
        let message = "This update is not stuck. Cancel it, if it has not ended.";
        return Err(Error::field("UPDATE_NOT_STUCK", "id", message));
    }
    act.update(id);
    act.commit(tx).await?;
    ring_next(deployer, &row.deployment_id).await;
    tracing::info!(run = %id, by = viewer.login, "a stuck update was abandoned");
    get(deployer, viewer, id).await?.ok_or_else(|| Error::not_found("id"))
}

/// The run's row, if the viewer may change its deployment.
async fn require(deployer: &Deployer, viewer: &Viewer, id: RunId) -> Result<run::Model> {
    let row = run::Entity::find_by_id(id.0).one(deployer.db.pool()).await?.ok_or_else(|| Error::not_found("id"))?;
    rights::require_deployment(deployer.db.pool(), viewer, &row.deployment_id, Access::Change, "id").await?;
    Ok(row)
}

async fn refuse_stuck(tx: &Tx, deployment: &str, field: &str) -> Result<()> {
    let stuck = run::Entity::find()
        .filter(run::Column::DeploymentId.eq(deployment))
        .filter(run::Column::Status.eq(Status::Stuck.as_str()))
        .one(&**tx)
        .await?;
    match stuck {
        None => Ok(()),
        Some(run) => Err(Error::field(
            "DEPLOYMENT_STUCK",
            field,
            format!(
                "Update {} of this deployment is stuck: nobody can tell what is on the node. Look there, then retry or abandon it.",
                run.id
            ),
        )),
    }
}

/// The old spec for whoever retries, on the infrastructure as it is set now: whom its administrators took away acts no more.
///
/// # Errors
/// `RETRY_NOT_POSSIBLE` if the infrastructure has another node by now: its key must not go to the old one, nor over the old way.
async fn renew(tx: &Tx, row: &deployment::Model, old: &RunSpec, login: &str) -> Result<RunSpec> {
    let mut body: DeploySpec = serde_json::from_value(old.body.clone())?;
    for (bundle_id, sha256) in packages(&body) {
        let package = BundleKey { project_key: body.package.project_key.clone(), bundle_id };
        if bundles::lock(tx, &package, Hold::Keep).await?.is_none_or(|package| package.sha256 != sha256) {
            let message = "The package of this update was deleted. Start a new update with another one.";
            return Err(Error::field("BUNDLE_UNKNOWN", "id", message));
        }
    }
    let now = freeze::place(&**tx, &freeze::hold_infrastructure(tx, row).await?).await?;
    if infrastructures::other_nodes(&body.infrastructure, &now.spec) {
        let message = "The infrastructure's node was changed since (its address, or which certificates are trusted), or it has other nodes now. Start a new update.";
        return Err(Error::field("RETRY_NOT_POSSIBLE", "id", message));
    }
    let plan = if UpdateType::of(old).deploys() {
        let hooks = hooks::enabled_hooks_for_plan(&**tx, &row.infrastructure_id).await?;
        freeze::with_hooks_of_now(&old.plan, &now, &hooks)?
    } else {
        old.plan.clone()
    };
    body.infrastructure = now.spec;
    body.acting_user = now.deploy_as.unwrap_or_else(|| login.to_owned());
    Ok(RunSpec { plan, requester: login.to_owned(), body: serde_json::to_value(body)?, inherited: None })
}

/// What pre-deployment hooks answered, by the names of their steps in the new plan: of those that are the same hook with the same code.
fn answered(old: &State, new: &RunSpec) -> BTreeMap<String, Value> {
    let same = |planned: &PlannedStep| -> Option<(String, String)> {
        let params: freeze::HookParams = serde_json::from_value(planned.params.clone()).ok()?;
        planned.name.starts_with(freeze::PRE_HOOKS).then_some((params.hook_id, params.code_ref))
    };
    let steps = old.spec.plan.steps.iter().zip(&old.steps);
    let answers: BTreeMap<_, _> =
        steps.filter_map(|(planned, step)| Some((same(planned)?, step.output.clone()?))).collect();
    let planned = new.plan.steps.iter();
    planned.filter_map(|planned| Some((planned.name.clone(), answers.get(&same(planned)?)?.clone()))).collect()
}

/// The notes that are still true. Once a node was verified, or put back, what was read there before is no longer what was there before. Only what was active
/// before stays known where several nodes are to be put back together, and some of them are not done: else a retry would put back what this one brought.
fn unsettled_notes(state: &State) -> BTreeMap<String, Value> {
    let lanes: BTreeSet<Option<&str>> = state.spec.plan.steps.iter().map(|planned| planned.lane.as_deref()).collect();
    let settled = |lane: Option<&str>, kinds: &[&str]| state.is_settled(lane, kinds);
    let done = [freeze::VERIFY, freeze::RESTORE];
    let together = state.spec.plan.on_failure == OnFailure::Restore
        && lanes.iter().any(|lane| lane.is_some() && !settled(*lane, &done));
    let stays = |name: &str| {
        let lane = name.rsplit_once('/').map(|(node, _)| node);
        let keeps_prior = together && notes::is(name, notes::PRIOR) && !settled(lane, &[freeze::RESTORE]);
        !settled(lane, &done) || keeps_prior
    };
    state.notes.iter().filter(|(name, _)| stays(name)).map(|(name, note)| (name.clone(), note.clone())).collect()
}

async fn finish(
    deployer: &Deployer,
    viewer: &Viewer,
    tx: Tx,
    deployment: &str,
    spec: &RunSpec,
    request: Option<Request<'_>>,
    act: &Act<'_>,
) -> Result<Accepted> {
    let requested = runs::request(&tx, deployment, spec).await?;
    if UpdateType::of(spec) == UpdateType::Delete {
        purpose::goes_with(&tx, deployment, requested.run).await?;
    }
    if let Some(request) = request {
        request.keep(&tx, requested.run).await?;
    }
    act.update(requested.run);
    act.commit(tx).await?;
    deployer.queue.ring(requested.run);
    tracing::info!(run = %requested.run, deployment, by = viewer.login, "an update was requested");
    accepted(deployer, viewer, requested.run, false).await
}

async fn accepted(deployer: &Deployer, viewer: &Viewer, run: RunId, repeated: bool) -> Result<Accepted> {
    let update = get(deployer, viewer, run).await?.ok_or_else(|| Error::not_found("deploymentId"))?;
    Ok(Accepted { update, repeated })
}

/// Best effort: a sweeper finds it otherwise.
pub(super) async fn ring_next(deployer: &Deployer, deployment: &str) {
    match due::next_of_deployment(&deployer.db, deployment).await {
        Ok(Some(run)) => deployer.queue.ring(run),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, deployment, "the next update could not be looked for; the sweeper finds it")
        }
    }
}
