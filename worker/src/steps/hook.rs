//! One deployment hook: its code and clients, its control, its outcome as a step's.

use std::{collections::BTreeMap, time::Duration};

use engine::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    journal::State,
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
    let params: Params = serde_json::from_value(planned.params.clone())
        .map_err(|error| internal(format!("the plan's hook cannot be read: {error}")))?;
    let Some(python) = steps.hooks.interpreter(params.code_env.as_deref()) else {
        return elsewhere(steps, context, planned, &params).await;
    };
    if params.os_user.as_ref().is_some_and(|user| !steps.hooks.os_users.contains(user)) {
        return elsewhere(steps, context, planned, &params).await;
    }
    let call = call(steps, context, &params, python).await?;
    // Once more, immediately before it acts: the grant may be older than a pause of this process.
    if !slots.holds(demand).await.map_err(unavailable)? {
        return Err(StepError::LeaseLost);
    }
    let (sender, lines) = mpsc::channel(256);
    let control = HookControl { lease_deadline: context.held.lease.hooks_until.clone(), cancel: stop };
    let (report, ()) = tokio::join!(hooks::run(call, control, sender), pass_on(context, lines));
    if report.leftovers > 0 {
        let line = format!("{} processes that the hook left behind were ended.", report.leftovers);
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
    let extra = BTreeMap::from([
        ("idempotency_key".to_owned(), context.idempotency_key().into()),
        ("attempt".to_owned(), context.attempt().into()),
    ]);
    let state = context.held.state().clone();
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

/// Another worker may have what the hook needs: give the run back and look again, for as long as a slot may be waited for.
async fn elsewhere(steps: &Steps, context: &Context, planned: &PlannedStep, params: &Params) -> StepResult {
    let what = match (&params.code_env, &params.os_user) {
        (Some(code_env), _) => format!("code env {code_env}"),
        (None, Some(user)) => format!("OS user {user}"),
        (None, None) => "Python".to_owned(),
    };
    let started = context.held.state().under_way().map_or(0, |(_, attempt)| attempt.started_at);
    let now = steps.deployer.db.now().await.map_err(unavailable)?;
    let patience = planned.slot.as_ref().map_or(0, |slot| slot.wait_ms);
    if now - started > i64::try_from(patience).unwrap_or(i64::MAX / 2_000) * 1_000 {
        let message = format!(
            "No worker that has what {} needs took it in {} s. Ask an operator to start one, or change the hook.",
            planned.name,
            patience / 1_000
        );
        return Err(Failure::new(CODE_ENV_UNAVAILABLE, message).detail(format!("it needs {what}")).permanent());
    }
    context.log(Audience::InfrastructureAdmins, format!("Waits for a worker that has {what}.")).await;
    Ok(StepOutcome::NotYet { check_in: Duration::from_secs(1) })
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
    let left = (leftovers > 0).then(|| format!("{} left {leftovers} processes behind; they were ended.", planned.name));
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
