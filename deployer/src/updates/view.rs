//! An update, as one viewer sees it.

use engine::{failure::Failure, ids::RunId, journal::Status, runs::Loaded};
use serde_json::Value;
use targets::{
    spec::{DeploySpec, ServiceVersionSpec},
    target::{Half, Receipt, VersionShare},
};

use super::{
    ask::RETRY_OF,
    kind::UpdateType,
    nodes::{self, UpdatedNode},
    steps::{self, Step, Trouble},
    waiting::{Live, Mentioned, WaitingOn},
};
use crate::{
    error::Result,
    freeze::{POST_HOOKS, PRE_HOOKS},
    halves,
    rights::{DeploymentRights, Level},
};

/// One execution that makes a deployment so.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Its id.
    pub id: RunId,
    /// From 1 within the deployment.
    pub number: i64,
    /// The deployment.
    pub deployment_id: String,
    /// Where to, as frozen at the request.
    pub infrastructure_id: String,
    /// What it deploys.
    pub half: Half,
    /// The published project, or service.
    pub project_key: String,
    /// The bundle, or the version, as frozen at the request.
    pub bundle_id: String,
    /// The project key on the node.
    pub deployed_project_key: String,
    /// The versions of an API service and their shares, as frozen at the request; empty for a project.
    pub versions: Vec<VersionShare>,
    /// At a glance.
    pub status: Status,
    /// The login that asked.
    pub requester: String,
    /// The login as whom changes are made on the node.
    pub acting_user: String,
    /// What it is for.
    pub kind: UpdateType,
    /// The update that this one retries.
    pub retry_of: Option<RunId>,
    /// When, in µs since the Unix epoch; unique within the deployment, also in milliseconds.
    pub requested_at: i64,
    /// When a worker first took it.
    pub started_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Who asked to cancel it.
    pub cancel_requested_by: Option<String>,
    /// Why it stopped before its plan's end.
    pub failure: Option<Trouble>,
    /// What its steps warned of.
    pub warnings: Vec<String>,
    /// In order.
    pub steps: Vec<Step>,
    /// How many hooks it runs.
    pub hooks: HookCounts,
    /// What it waits for right now.
    pub waiting_on: Option<WaitingOn>,
    /// What is on the node after it; on the first one that was looked at, where there are several.
    pub receipt: Option<Receipt>,
    /// What became of each of several nodes, in the order in which they are activated; empty when there is one.
    pub nodes: Vec<UpdatedNode>,
    /// The newest event: where a subscription goes on from.
    pub last_seq: i64,
    /// What the viewer may do with its deployment.
    pub rights: DeploymentRights,
}

/// Hooks per phase: what everybody sees of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// Before the deployment.
    pub pre: usize,
    /// After it.
    pub post: usize,
}

impl HookCounts {
    pub(crate) fn of(plan: &engine::plan::Plan) -> Self {
        let count = |prefix| plan.steps.iter().filter(|step| step.name.starts_with(prefix)).count();
        Self { pre: count(PRE_HOOKS), post: count(POST_HOOKS) }
    }
}

pub(super) fn render(run: &Loaded, rights: DeploymentRights, live: &Live, mentioned: &Mentioned) -> Result<Update> {
    let admin = rights.infrastructure >= Level::Admin;
    let state = &run.state;
    let body: DeploySpec = serde_json::from_value(state.spec.body.clone())?;
    let versions = body.service.iter().flat_map(|service| &service.versions);
    let share = |one: &ServiceVersionSpec| VersionShare { version: one.version.clone(), probability: one.probability };
    let versions = versions.map(share).collect();
    let retry_of = state.spec.body.get(RETRY_OF).and_then(Value::as_i64).map(RunId);
    Ok(Update {
        id: RunId(run.row.id),
        number: run.row.run_no,
        deployment_id: run.row.deployment_id.clone(),
        infrastructure_id: body.infrastructure.id,
        half: halves::half_of(&body.package.project_key),
        project_key: halves::shown(&body.package.project_key).to_owned(),
        versions,
        bundle_id: body.package.bundle_id,
        deployed_project_key: body.deployed_project_key,
        status: state.status(),
        requester: state.spec.requester.clone(),
        acting_user: body.acting_user,
        kind: UpdateType::of(&state.spec),
        retry_of,
        requested_at: run.row.requested_at,
        started_at: run.row.started_at,
        ended_at: run.row.ended_at,
        cancel_requested_by: state.cancelled_by.clone().or_else(|| run.row.cancel_requested_by.clone()),
        failure: state.stopped.as_ref().map(|failure: &Failure| Trouble::of(failure, admin)),
        warnings: state.steps.iter().flat_map(|step| step.warnings.iter().cloned()).collect(),
        steps: steps::render(state, admin, mentioned),
        hooks: HookCounts::of(&state.spec.plan),
        waiting_on: live.waiting_on(run, mentioned),
        receipt: nodes::receipts(state).into_iter().next().map(|(_, receipt)| receipt),
        nodes: nodes::render(state, admin),
        last_seq: state.seq,
        rights,
    })
}
