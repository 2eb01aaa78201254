//! One deployment hook: its code and clients, its control, its outcome as a step's.

use std::{collections::BTreeMap, time::Duration};

use engine::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    journal::{Next, State},
    plan::PlannedStep,
    slots::{Demand, Slots},
    step::{Audience, StepContext},
};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Steps, spec};
use crate::{
    context::{Context, from_deployer, internal, unavailable},
    hooks::{
        self, ClientAccess, DeploymentReport, HookArguments, HookCall, HookControl, HookEnvironment, HookLimits,
        HookLine, HookOutcome, HookStream,
    },
};

/// The code of a hook whose code env no worker had in time.
pub(super) const CODE_ENV_UNAVAILABLE: Code = Code::new("CODE_ENV_UNAVAILABLE");

/// The hook has not begun; somebody looks again soon.
const AGAIN: StepOutcome = StepOutcome::NotYet { check_in: Duration::from_millis(500) };

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
}

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
    let node = &spec.infrastructure.node;
    let key = context.secret(&node.key).await?;
    let settings = &steps.hooks;
    let scratch_root =
        if settings.scratch.is_empty() { std::env::temp_dir() } else { std::path::PathBuf::from(&settings.scratch) };
    let state = context.held.state().clone();
    // Also counts beginnings that a lost worker interrupted: from 2 on, somebody may have been here before.
    let beginnings: u32 = state.steps[context.step].attempts.iter().map(|attempt| attempt.grants).sum();
    let extra = BTreeMap::from([
        ("idempotency_key".to_owned(), context.idempotency_key().into()),
        ("attempt".to_owned(), beginnings.into()),
    ]);
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
            deployed_project_key: Some(spec.deployed_project_key.clone()),
            extra,
        },
        automation: Some(ClientAccess {
            url: node.url.clone(),
            key,
            no_check_certificate: node.trust_all_certificates,
        }),
        deployer: None,
        limits: HookLimits { deadline: Duration::from_millis(params.deadline_ms), ..HookLimits::default() },
        secrets: Vec::new(),
    })
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

/// What of the hook's needs this worker lacks.
fn lacks(steps: &Steps, params: &Params) -> Option<String> {
    if steps.hooks.interpreter(params.code_env.as_deref()).is_none() {
        return Some(params.code_env.as_ref().map_or_else(|| "Python".to_owned(), |name| format!("code env {name}")));
    }
    let user = params.os_user.as_ref().filter(|user| !steps.hooks.os_users.contains(user))?;
    Some(format!("OS user {user}"))
}

/// How long a hook may wait for a worker that has what it needs: as long as for a slot, from the attempt's beginning.
async fn is_too_late(steps: &Steps, planned: &PlannedStep, started_at: i64) -> Result<bool, StepError> {
    let now = steps.deployer.db.now().await.map_err(unavailable)?;
    let patience = planned.slot.as_ref().map_or(0, |slot| slot.wait_ms);
    Ok(now - started_at > i64::try_from(patience).unwrap_or(i64::MAX / 2_000) * 1_000)
}

/// Whether this worker should take the run: it has what the next step needs, or it is the one to say that nobody had it in time.
pub(super) async fn suits(steps: &Steps, state: &State) -> bool {
    let (Next::Resume { step, .. } | Next::Start { step, .. }) = state.next() else { return true };
    let planned = &state.spec.plan.steps[step];
    let Some(attempt) = state.steps[step].attempts.last().filter(|_| planned.kind == "hook") else { return true };
    match params(planned) {
        Ok(params) if lacks(steps, &params).is_some() => {
            is_too_late(steps, planned, attempt.started_at).await.unwrap_or(false)
        }
        _ => true,
    }
}

/// Another worker may have what the hook needs: the run is given back before it takes a slot, for as long as a slot may be waited for.
pub(super) async fn elsewhere(steps: &Steps, context: &Context, planned: &PlannedStep) -> Option<StepResult> {
    let params = match params(planned) {
        Ok(params) => params,
        Err(error) => return Some(Err(error)),
    };
    let what = lacks(steps, &params)?;
    let started_at = context.held.state().under_way().map_or(0, |(_, attempt)| attempt.started_at);
    match is_too_late(steps, planned, started_at).await {
        Ok(false) => {}
        Ok(true) => {
            let message = format!(
                "No worker that has what {} needs took it in time. Ask an operator to start one, or change the hook.",
                planned.name
            );
            return Some(Err(Failure::new(CODE_ENV_UNAVAILABLE, message)
                .detail(format!("it needs {what}"))
                .permanent()));
        }
        Err(_) => return Some(Ok(AGAIN)),
    }
    context.log(Audience::Everyone, format!("{} waits for a worker that has what it needs.", planned.name)).await;
    context.log(Audience::InfrastructureAdmins, format!("It needs {what}.")).await;
    Some(Ok(AGAIN))
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
