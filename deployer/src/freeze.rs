//! The frozen copy of what one update deploys: the plan, and what its steps work on. Secrets and code stand in it by reference.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use engine::{
    db::Tx,
    plan::{OnFailure, OnInterrupt, Plan, PlannedStep, SlotDemand, StepPolicy},
    retry::RetryPolicy,
    spec::RunSpec,
};
use entities::{bundle, deployment, infrastructure, installation};
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _, QuerySelect as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use targets::{
    http::NodeUrl,
    spec::{DeploySpec, GovernCheckPolicy, InfrastructureSpec, PackageSpec, ProjectStandardsPolicy},
    target::Half,
};

use crate::{
    bundles::{self, BundleKey, Hold},
    connections, deployments,
    error::{Error, Result},
    halves::{self, half_of, of_half},
    hooks::{self, Phase, PlannedHook},
    infrastructures::{self, Settings, StepOverride},
    pools,
    services::frozen,
};

/// Names of pre-deployment hooks begin with this; a number from 1 follows.
pub const PRE_HOOKS: &str = "pre_hooks/";
/// Names of post-deployment hooks begin with this.
pub const POST_HOOKS: &str = "post_hooks/";
/// The kind of a step that runs a hook.
pub const HOOK: &str = "hook";
/// The kind and name of the step that asks whether the update may begin.
const CHECK_POLICY: &str = "check_policy";
/// The kind of the step that reads back what is on the node; its name, too, where there is one node, else the node's follows.
pub const VERIFY: &str = "verify";
/// The kind of the step that puts back what was there before; likewise.
pub const RESTORE: &str = "restore";

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
/// A hook attempt includes starting it and reading its result; its own deadline ends it before this does.
const HOOK_MARGIN: u64 = 30 * SECOND;

/// Which hook a step runs: the parameters of a step of kind [`HOOK`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookParams {
    /// When it runs.
    pub phase: Phase,
    /// From 1 within the phase.
    pub index: usize,
    /// The hook. It may be gone or changed by now; the code is not.
    pub hook_id: String,
    /// What people read; for administrators of the infrastructure alone.
    pub name: String,
    /// An immutable row of `hook_code`.
    pub code_ref: String,
    /// A code env that a worker publishes; None is the default.
    pub code_env: Option<String>,
    /// The OS user it runs as; None is the worker's own.
    pub os_user: Option<String>,
    /// How long one attempt may run, in milliseconds.
    pub deadline_ms: u64,
    /// The user of ours as whom it calls us back; None gives it no key.
    #[serde(default)]
    pub hooks_user: Option<String>,
}

/// An infrastructure, as specs hold it.
pub(crate) struct Place {
    pub(crate) spec: InfrastructureSpec,
    pub(crate) deploy_as: Option<String>,
    settings: Settings,
}

/// Reads an infrastructure that is ready to be deployed to.
///
/// # Errors
/// `ADMIN_KEY_MISSING` without its node's key.
pub(crate) async fn place<C: ConnectionTrait>(db: &C, row: &infrastructure::Model) -> Result<Place> {
    let settings = Settings::read(&row.settings)?;
    let mut spec = infrastructures::to_spec(row, &settings)?;
    connections::attach(db, &mut spec, &settings).await?;
    Ok(Place { spec, deploy_as: settings.deploy_as_user.clone(), settings })
}

/// Reads a deployment's infrastructure, and keeps it as it is until the transaction's end.
pub(crate) async fn hold_infrastructure(tx: &Tx, row: &deployment::Model) -> Result<infrastructure::Model> {
    let mut query = infrastructure::Entity::find_by_id(row.infrastructure_id.clone());
    if tx.get_database_backend() == DbBackend::Postgres {
        query = query.lock_shared();
    }
    let found = query.one(&**tx).await?;
    found.ok_or_else(|| Error::fault(format!("deployment {} has no infrastructure", row.id)))
}

/// Freezes what an update of this deployment does when `login` asks for it. The caller holds the deployment's lock.
///
/// # Errors
/// `ADMIN_KEY_MISSING`; `BUNDLE_UNKNOWN` if the bundle is gone; `DEPLOYED_PROJECT_KEY_TAKEN` for a service that is somebody else's on one of the nodes.
pub(crate) async fn freeze(tx: &Tx, row: &deployment::Model, login: &str) -> Result<RunSpec> {
    refuse_taken(&**tx, row).await?;
    frozen(tx, row, login).await
}

/// Refuses a service whose id an older deployment uses on one of the same nodes, by way of another infrastructure: callers know it by that id alone.
///
/// # Errors
/// `DEPLOYED_PROJECT_KEY_TAKEN`.
pub(crate) async fn refuse_taken<C: ConnectionTrait>(db: &C, row: &deployment::Model) -> Result<()> {
    if half_of(&row.project_key) == Half::Project {
        return Ok(());
    }
    let others = deployment::Entity::find()
        .filter(deployment::Column::DeployedProjectKey.eq(row.deployed_project_key.clone()))
        .filter(of_half(deployment::Column::ProjectKey, Half::Api))
        .filter(deployment::Column::InfrastructureId.ne(row.infrastructure_id.clone()))
        .all(db)
        .await?;
    let older = |other: &deployment::Model| (other.created_at, &other.id) < (row.created_at, &row.id);
    let others: Vec<_> = others.into_iter().filter(older).collect();
    if others.is_empty() {
        return Ok(());
    }
    let ids = others.iter().map(|other| other.infrastructure_id.clone()).chain([row.infrastructure_id.clone()]);
    let places = infrastructure::Entity::find().filter(infrastructure::Column::Id.is_in(ids)).all(db).await?;
    let (mut mine, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    for place in places {
        let kind: targets::TargetType = place.kind.parse().map_err(|error| Error::fault(format!("{error}")))?;
        let nodes = kind.nodes(&Settings::read(&place.settings)?.platform);
        let urls = nodes.into_iter().map(|node| NodeUrl::spelled(&node.node.url));
        if place.id == row.infrastructure_id { mine.extend(urls) } else { theirs.extend(urls) }
    }
    if mine.is_disjoint(&theirs) {
        return Ok(());
    }
    let message = "Another infrastructure has one of these nodes, too, and an older deployment there uses this service id. Deploy under another id.";
    Err(Error::field("DEPLOYED_PROJECT_KEY_TAKEN", "deployedServiceId", message))
}

async fn frozen(tx: &Tx, row: &deployment::Model, login: &str) -> Result<RunSpec> {
    let key = BundleKey { project_key: row.project_key.clone(), bundle_id: row.bundle_id.clone() };
    let package = bundles::lock(tx, &key, Hold::Keep).await?;
    let package = package.ok_or_else(|| gone(&row.project_key))?;
    let several = deployments::Settings::read(&row.settings)?.api.unwrap_or_default().versions;
    for share in several.iter().filter(|share| share.version != row.bundle_id) {
        let key = BundleKey { bundle_id: share.version.clone(), ..key.clone() };
        bundles::lock(tx, &key, Hold::Keep).await?.ok_or_else(|| gone(&row.project_key))?;
    }
    // Its settings and hooks must be those of one moment: who changes them holds this row.
    hold_infrastructure(tx, row).await?;
    let (body, plan) = read(&**tx, row, &package, login).await?;
    Ok(RunSpec { plan, requester: login.to_owned(), body: serde_json::to_value(body)?, inherited: None })
}

/// The kind of the step that switches a project off; likewise.
pub const SWITCH_OFF: &str = "switch_off";
/// The kind of the step that deletes a project on the node; likewise.
pub const DELETE_PROJECT: &str = "delete_project";

/// Freezes an update that deploys nothing, and does one thing with the project on the node; nothing at all where nothing there is the deployment's work. No
/// hooks: those are for deployments.
pub(crate) async fn freeze_acting(
    tx: &Tx,
    row: &deployment::Model,
    login: &str,
    kind: Option<&'static str>,
) -> Result<RunSpec> {
    let mut spec = frozen(tx, row, login).await?;
    let place = place(&**tx, &hold_infrastructure(tx, row).await?).await?;
    let settings = &place.settings;
    let mut steps = vec![step(CHECK_POLICY, None, settings)];
    let nodes = lanes(&place.spec);
    steps.extend(
        kind.into_iter().flat_map(|kind| nodes.iter().map(|node| step(kind, *node, settings)).collect::<Vec<_>>()),
    );
    // What is switched off may go on without a node, as an update does; a deletion is done on all of them, or asked for again.
    let goes_on = settings.on_failure == OnFailure::GoOn && nodes.len() > 1 && kind == Some(SWITCH_OFF);
    let plan = Plan::new(steps, if goes_on { OnFailure::GoOn } else { OnFailure::Leave });
    spec.plan = plan.with_quorum(place.spec.kind.quorum(&place.settings.platform));
    ungoverned(&mut spec)?;
    Ok(spec)
}

/// Takes the policies about bundles out of the spec of an update that deploys none: what they forbid can still be switched off.
pub(crate) fn ungoverned(spec: &mut RunSpec) -> Result<()> {
    let mut body: DeploySpec = serde_json::from_value(spec.body.clone())?;
    body.infrastructure.govern_check_policy = GovernCheckPolicy::NoCheck;
    body.infrastructure.governance = None;
    body.infrastructure.project_standards_policy = ProjectStandardsPolicy::Ignore;
    if let (Value::Object(kept), Value::Object(body)) = (&mut spec.body, serde_json::to_value(body)?) {
        kept.extend(body);
    }
    Ok(())
}

/// What [`freeze`] makes, without holding anything: for a preview.
pub(crate) async fn read<C: ConnectionTrait>(
    db: &C,
    row: &deployment::Model,
    package: &bundle::Model,
    login: &str,
) -> Result<(DeploySpec, Plan)> {
    let infrastructure = infrastructure::Entity::find_by_id(row.infrastructure_id.clone()).one(db).await?;
    let infrastructure =
        infrastructure.ok_or_else(|| Error::fault(format!("deployment {} has no infrastructure", row.id)))?;
    let place = place(db, &infrastructure).await?;
    let hooks = hooks::enabled_hooks_for_plan(db, &row.infrastructure_id).await?;
    let settings: deployments::Settings = serde_json::from_str(&row.settings)?;
    let plan = plan(&place.settings, &lanes(&place.spec), settings.on_failure, &hooks)?;
    let plan = plan.with_quorum(place.spec.kind.quorum(&place.settings.platform));
    let service = match &settings.api {
        Some(api) => Some(Box::new(frozen::service(db, row, package, api, &place.settings).await?)),
        None => None,
    };
    let remappings = settings.remappings(&deployments::Remappings::of(&place.settings));
    // Lists that nobody has set leave the node's alone.
    let merges = settings.merge_infrastructure_remapping;
    let code_envs = (merges || settings.code_env_remapping.is_some()).then_some(remappings.code_envs);
    let container_execs = (merges || settings.container_exec_remapping.is_some()).then_some(remappings.container_execs);
    let installation = installation::Entity::find().one(db).await?;
    let installation = installation.ok_or_else(|| Error::fault("the installation has no id"))?.id;
    let body = DeploySpec {
        deployment: row.id.clone(),
        installation,
        infrastructure: place.spec,
        package: PackageSpec {
            project_key: package.project_key.clone(),
            bundle_id: package.bundle_id.clone(),
            sha256: package.sha256.clone(),
            size: package.size.unsigned_abs(),
        },
        deployed_project_key: row.deployed_project_key.clone(),
        project_folder: settings.project_folder,
        connection_remapping: remappings.connections,
        code_env_remapping: code_envs,
        container_exec_remapping: container_execs,
        code_envs_behavior: settings.code_envs_behavior,
        local_variables: settings.local_variables,
        scenarios: settings.scenarios,
        disable_automatic_triggers: settings.disable_automatic_triggers,
        acting_user: place.deploy_as.unwrap_or_else(|| login.to_owned()),
        service,
    };
    Ok((body, plan))
}

/// The nodes that an update works on, each a lane. One without a name: it is the only one, or the platform has none.
fn lanes(spec: &InfrastructureSpec) -> Vec<Option<&str>> {
    spec.places().iter().map(|place| place.name).collect()
}

/// What a deployment is set to is not there any more.
fn gone(key: &str) -> Error {
    let half = halves::half_of(key);
    let message = format!("The deployment's {} was deleted. Choose another one.", halves::package(half));
    Error::field("BUNDLE_UNKNOWN", bundles::field(half), message)
}

/// The steps of an update. Where there are several nodes, all are validated before the first one gets the bundle, and all have it before the first one
/// activates it; then one node is done with before the next one begins. What is put back begins with the node that failed.
fn plan(
    settings: &Settings,
    nodes: &[Option<&str>],
    on_failure: Option<OnFailure>,
    hooks: &[PlannedHook],
) -> Result<Plan> {
    let on_failure = match on_failure.unwrap_or(settings.on_failure) {
        // Nothing is left to go on with.
        OnFailure::GoOn if nodes == [None] => OnFailure::Leave,
        other => other,
    };
    let phase = |phase: Phase| hooks.iter().filter(move |hook| hook.phase == phase).enumerate();
    let mut steps = vec![step(CHECK_POLICY, None, settings)];
    for (index, hook) in phase(Phase::Pre) {
        steps.push(hook_step(index + 1, hook, settings)?);
    }
    for kinds in [&["validate_remap"][..], &["push_bundle"], &["activate", "enforce_run_as", VERIFY]] {
        for node in nodes {
            steps.extend(kinds.iter().map(|kind| step(kind, *node, settings)));
        }
    }
    for (index, hook) in phase(Phase::Post) {
        steps.push(hook_step(index + 1, hook, settings)?);
    }
    if on_failure == OnFailure::Restore {
        steps.extend(nodes.iter().rev().map(|node| step(RESTORE, *node, settings)));
    }
    Ok(Plan::new(steps, on_failure))
}

/// A plan of an earlier update with the hooks of now: those that are gone or disabled do not run any more, and all run in the name of today's hooks user.
pub(crate) fn with_hooks_of_now(plan: &Plan, place: &Place, hooks: &[PlannedHook]) -> Result<Plan> {
    let phase = |phase: Phase| hooks.iter().filter(move |hook| hook.phase == phase).enumerate();
    let hook = |(index, hook): (usize, &PlannedHook)| hook_step(index + 1, hook, &place.settings);
    let mut steps: Vec<PlannedStep> = plan.steps.iter().filter(|step| step.kind != HOOK).cloned().collect();
    let after_policy = steps.iter().take_while(|step| step.kind == CHECK_POLICY).count();
    let pre = phase(Phase::Pre).map(hook).collect::<Result<Vec<_>>>()?;
    steps.splice(after_policy..after_policy, pre);
    let end = steps.iter().position(|step| step.only_after_failure).unwrap_or(steps.len());
    let post = phase(Phase::Post).map(hook).collect::<Result<Vec<_>>>()?;
    steps.splice(end..end, post);
    Ok(Plan { steps, ..plan.clone() })
}

fn step(kind: &'static str, node: Option<&str>, settings: &Settings) -> PlannedStep {
    PlannedStep {
        name: node.map_or_else(|| kind.to_owned(), |node| format!("{kind}/{node}")),
        kind: kind.to_owned(),
        policy: policy(kind, &settings.step_policies),
        params: Value::Null,
        restorable: matches!(kind, "activate" | "enforce_run_as" | "verify"),
        only_after_failure: kind == RESTORE,
        slot: None,
        on_interrupt: OnInterrupt::Rerun,
        failure_warns: false,
        lane: node.map(str::to_owned),
    }
}

fn hook_step(index: usize, hook: &PlannedHook, settings: &Settings) -> Result<PlannedStep> {
    let pre = hook.phase == Phase::Pre;
    let deadline_ms = hook.deadline_ms.unsigned_abs();
    let params = HookParams {
        phase: hook.phase,
        index,
        hook_id: hook.id.clone(),
        name: hook.name.clone(),
        code_ref: hook.code_ref.clone(),
        code_env: hook.code_env.clone(),
        os_user: hook.os_user.clone(),
        deadline_ms,
        hooks_user: settings.hooks_user.clone(),
    };
    let mut policy = policy(HOOK, &settings.step_policies);
    policy.deadline_ms = deadline_ms.saturating_add(HOOK_MARGIN);
    let wait_ms = if pre { settings.pre_hook_wait_ms } else { settings.post_hook_wait_ms };
    Ok(PlannedStep {
        name: format!("{}{index}", if pre { PRE_HOOKS } else { POST_HOOKS }),
        kind: HOOK.to_owned(),
        policy,
        params: serde_json::to_value(params)?,
        restorable: false,
        only_after_failure: false,
        slot: Some(SlotDemand { pool: pools::HOOKS.to_owned(), wait_ms }),
        on_interrupt: hook.on_interrupt,
        failure_warns: !pre,
        lane: None,
    })
}

/// The policy of a kind of step: its default, where the infrastructure does not override it.
fn policy(kind: &str, overrides: &BTreeMap<String, StepOverride>) -> StepPolicy {
    let retry = |max_attempts, initial: Duration, cap: Duration| RetryPolicy {
        max_attempts,
        initial_ms: initial.as_secs() * SECOND,
        cap_ms: cap.as_secs() * SECOND,
    };
    let (second, half_minute, minute) = (Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(60));
    let (default, deadline_ms) = match kind {
        HOOK => (RetryPolicy::NEVER, 10 * MINUTE),
        CHECK_POLICY => (retry(5, second, half_minute), 30 * SECOND),
        "validate_remap" => (retry(5, second, half_minute), 2 * MINUTE),
        VERIFY => (retry(5, second, half_minute), 5 * MINUTE),
        "push_bundle" => (retry(4, 2 * second, minute), 60 * MINUTE),
        "activate" => (retry(3, 2 * second, minute), 60 * MINUTE),
        // It must not be given up early: a half-restored node needs a human.
        RESTORE => (retry(5, 2 * second, minute), 60 * MINUTE),
        _ => (retry(5, second, half_minute), 10 * MINUTE),
    };
    let chosen = overrides.get(kind);
    StepPolicy {
        retry: chosen.and_then(|o| o.retry.clone()).unwrap_or(default),
        deadline_ms: chosen.and_then(|o| o.deadline_ms).unwrap_or(deadline_ms),
    }
}

#[cfg(test)]
mod tests;
