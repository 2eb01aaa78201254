//! One deployment hook: its code and clients, its control, its outcome as a step's.

use std::{collections::BTreeMap, time::Duration};

use engine::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    journal::State,
    plan::PlannedStep,
    secrets::Secret,
    slots::{Demand, Slots},
    step::{Audience, StepContext},
};
use serde::Deserialize;
use serde_json::{Value, json};
use targets::spec::{DeploySpec, NodeSpec, ServiceSpec, ServiceVersionSpec};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Steps, spec};
use crate::{
    context::{Context, from_deployer, internal},
    hooks::{
        self, ClientAccess, DeploymentReport, HookArguments, HookCall, HookControl, HookEnvironment, HookLimits,
        HookLine, HookOutcome, HookStream,
    },
    needs::AGAIN,
    settings::HookSettings,
};

/// What the plan says of a hook.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Params {
    phase: String,
    name: String,
    code_ref: String,
    #[serde(default)]
    code_env: Option<String>,
    #[serde(default)]
    os_user: Option<String>,
    deadline_ms: u64,
    #[serde(default)]
    hooks_user: Option<String>,
}

/// Why a hook has no `deployer_client`: what an infrastructure's administrator can change.
const NO_HOOKS_USER: &str = "the infrastructure has no hooks user; its administrators can set one (hooksUser), and this client acts as that user";
/// See [`NO_HOOKS_USER`].
const HOOKS_USER_GONE: &str =
    "the infrastructure's hooks user is gone or disabled; its administrators can set another one (hooksUser)";
/// What an operator can.
const NO_ADDRESS: &str =
    "the worker does not know where Slipway's API is; its operator can set worker.hooks.deployer_url";

pub(super) async fn run(
    steps: &Steps,
    context: &Context,
    planned: &PlannedStep,
    slots: &Slots,
    demand: &Demand,
    stop: CancellationToken,
) -> StepResult {
    let params = params(planned)?;
    let Some(python) = steps.hooks.interpreter(params.code_env.as_deref()) else {
        return Err(internal("a hook came to a worker without its interpreter"));
    };
    // Nothing has acted yet: what the database did not answer is asked again, and is no failure of the hook.
    let call = match call(steps, context, &params, python).await {
        Ok(call) => call,
        Err(StepError::Retryable { .. }) => return Ok(AGAIN),
        Err(error) => return Err(error),
    };
    // Once more, immediately before it acts: the grant may be older than a pause of this process.
    match slots.holds(demand).await {
        Ok(true) => {}
        Ok(false) => return Err(StepError::LeaseLost),
        Err(error) => {
            tracing::warn!(error = %error, "a hook's slot could not be checked");
            return Ok(AGAIN);
        }
    }
    let (sender, lines) = mpsc::channel(256);
    let control = HookControl { lease_deadline: context.held.lease.hooks_until.clone(), cancel: stop };
    let (report, ()) = tokio::join!(hooks::run(call, control, sender), pass_on(context, lines));
    if report.leftovers > 0 {
        let line = format!("{} of the hook were left behind, and ended.", processes(report.leftovers));
        context.log(Audience::Everyone, line).await;
    }
    outcome(planned, report.outcome, report.leftovers)
}

async fn call(
    steps: &Steps,
    context: &Context,
    params: &Params,
    python: std::path::PathBuf,
) -> Result<HookCall, StepError> {
    let spec = spec(context)?;
    let context = context.with(&steps.deployer);
    let code = deployer::hooks::code(&steps.deployer.db, &params.code_ref).await.map_err(from_deployer)?;
    let code = code.ok_or_else(|| internal("the hook's code is no longer stored"))?;
    let (mut automation, mut nodes) = (None, BTreeMap::new());
    // Clients are of Automation nodes; who deploys API services has none.
    if spec.service.is_none() {
        automation = Some(node_access(&context, &spec.infrastructure.node).await?);
        for one in &spec.infrastructure.nodes {
            nodes.insert(one.name.clone(), node_access(&context, &one.node).await?);
        }
    }
    let settings = &steps.hooks;
    let scratch_root =
        if settings.scratch.is_empty() { std::env::temp_dir() } else { std::path::PathBuf::from(&settings.scratch) };
    let state = context.held.state().clone();
    // Also counts beginnings that a lost worker interrupted: from 2 on, somebody may have been here before.
    let beginnings: u32 = state.steps[context.step].attempts.iter().map(|attempt| attempt.grants).sum();
    let mut extra = BTreeMap::from([
        ("idempotency_key".to_owned(), context.idempotency_key().into()),
        ("attempt".to_owned(), beginnings.into()),
    ]);
    if let Some(service) = &spec.service {
        extra.extend(of_service(&spec, service));
    }
    Ok(HookCall {
        supervisor: steps.supervisor.clone(),
        python,
        code_env: params.code_env.clone().unwrap_or_else(|| "default".to_owned()),
        os_user: params.os_user.clone(),
        scratch_root,
        environment: HookEnvironment {
            http_proxy: settings.http_proxy.clone(),
            https_proxy: settings.https_proxy.clone(),
            no_proxy: settings.no_proxy.clone(),
            ca_bundle: settings.ca_bundle.clone(),
            timezone: None,
        },
        name: params.name.clone(),
        code,
        arguments: HookArguments {
            requesting_user: state.spec.requester.clone(),
            deploying_user: spec.acting_user.clone(),
            deployment_id: spec.deployment.clone(),
            deployment_report: (params.phase == "POST").then(|| report(&state)),
            deployed_project_key: spec.service.is_none().then(|| spec.deployed_project_key.clone()),
            extra,
        },
        automation,
        nodes,
        deployer: deployer_access(steps, &context, params).await?,
        limits: HookLimits { deadline: Duration::from_millis(params.deadline_ms), ..HookLimits::default() },
        secrets: Vec::new(),
    })
}

/// What a hook learns of an API service; no public source says what Dataiku's own hooks are given.
fn of_service(spec: &DeploySpec, service: &ServiceSpec) -> [(String, Value); 5] {
    let version = |one: &ServiceVersionSpec| json!({"version": one.version, "probability": one.probability});
    let versions: Vec<_> = service.versions.iter().map(version).collect();
    [
        ("infrastructure_id", json!(spec.infrastructure.id)),
        ("infrastructure_type", json!(spec.infrastructure.kind)),
        ("published_service_id", json!(service.published_service_id)),
        ("deployed_service_id", json!(service.service_id)),
        ("deployed_versions", json!(versions)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// A node, with the infrastructure's key of it.
async fn node_access(context: &Context, node: &NodeSpec) -> Result<ClientAccess, StepError> {
    let key = context.secret(&node.key).await?;
    Ok(ClientAccess { url: node.url.clone(), key, no_check_certificate: node.trust_all_certificates })
}

/// The API, as the infrastructure's hooks user, with a key that dies with the run.
async fn deployer_access(
    steps: &Steps,
    context: &Context,
    params: &Params,
) -> Result<Result<ClientAccess, &'static str>, StepError> {
    let Some(user) = &params.hooks_user else { return Ok(Err(NO_HOOKS_USER)) };
    let url = &steps.hooks.deployer_url;
    if url.is_empty() {
        return Ok(Err(NO_ADDRESS));
    }
    let key = deployer::keys::mint_for_hooks(&steps.deployer, context.held.run, user).await.map_err(from_deployer)?;
    Ok(key.map_or(Err(HOOKS_USER_GONE), |key| {
        Ok(ClientAccess { url: url.clone(), key: Secret::new(key.expose().to_owned()), no_check_certificate: false })
    }))
}

/// What a post-deployment hook learns of the deployment so far.
fn report(state: &State) -> DeploymentReport {
    let messages: Vec<String> = state.steps.iter().flat_map(|step| step.warnings.clone()).collect();
    let status = if messages.is_empty() { "SUCCESS" } else { "WARNING" };
    DeploymentReport { status: status.to_owned(), messages }
}

fn params(planned: &PlannedStep) -> Result<Params, StepError> {
    serde_json::from_value(planned.params.clone())
        .map_err(|error| internal(format!("the plan's hook cannot be read: {error}")))
}

/// What of the hook's needs this worker lacks. Of a plan that can't be read nothing is lacking: whoever runs it says so.
pub(super) fn lacks(settings: &HookSettings, planned: &PlannedStep) -> Option<String> {
    if planned.kind != "hook" {
        return None;
    }
    let params = Params::deserialize(&planned.params).ok()?;
    if settings.interpreter(params.code_env.as_deref()).is_none() {
        return Some(params.code_env.as_ref().map_or_else(|| "Python".to_owned(), |name| format!("code env {name}")));
    }
    let user = params.os_user.as_ref().filter(|user| !settings.os_users.contains(user))?;
    Some(format!("OS user {user}"))
}

/// Passes what the hook says to the update's log, as it comes.
async fn pass_on(context: &Context, mut lines: mpsc::Receiver<HookLine>) {
    while let Some(HookLine { stream, text }) = lines.recv().await {
        let (name, admins_only) = match stream {
            HookStream::Stdout => ("STDOUT", false),
            HookStream::Stderr => ("STDERR", false),
            HookStream::Traceback => ("TRACEBACK", true),
        };
        context.held.log(context.step, context.attempt, name, admins_only, text).await;
    }
}

fn outcome(planned: &PlannedStep, outcome: HookOutcome, leftovers: u32) -> StepResult {
    let left =
        (leftovers > 0).then(|| format!("{} left {} behind, which Slipway ended.", planned.name, processes(leftovers)));
    match outcome {
        HookOutcome::Success(message) => Ok(StepOutcome::Done {
            output: serde_json::json!({ "status": "SUCCESS", "message": message }),
            warnings: left.into_iter().collect(),
        }),
        HookOutcome::Warning(message) => Ok(StepOutcome::Done {
            output: serde_json::json!({ "status": "WARNING", "message": message }),
            warnings: std::iter::once(message).chain(left).collect(),
        }),
        HookOutcome::Cancelled => Err(StepError::Cancelled),
        // Our own lease ran out; whoever holds the run now decides by the hook's policy.
        HookOutcome::LeaseDeadline => Err(StepError::LeaseLost),
        other => {
            let failure = Failure::new(Code::new(other.code()), other.message());
            Err(match other.detail() {
                Some(detail) => failure.detail(detail),
                None => failure,
            }
            .permanent())
        }
    }
}

fn processes(count: u32) -> String {
    format!("{count} {}", if count == 1 { "process" } else { "processes" })
}
