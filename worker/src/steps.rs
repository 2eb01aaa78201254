//! The steps of an update, by kind. What a platform does lies in `targets`; what the deployer decides lies in `deployer`; this joins them to
//! the held run.

mod hook;

use std::sync::Arc;

use async_trait::async_trait;
use deployer::{
    Deployer, deployments,
    drift::{self, DriftSettings},
    freeze,
    imports::Imports,
    policy::Asked,
    updates::UpdateType,
};
use engine::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    plan::{OnFailure, PlannedStep},
    runs::retain::{self, Retention},
    slots::{Demand, Slots},
    step::StepContext,
};
use targets::{
    TargetType,
    automation::notes,
    spec::{BundleContents, DeploySpec},
    target::{Target, Work},
};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Context, from_deployer, internal, unavailable},
    doer::Doer,
    held::Lost,
    settings::HookSettings,
};

/// The code of a plan that this worker is too old for.
pub const STEP_UNKNOWN: Code = Code::new("STEP_UNKNOWN");

/// The kinds of step that make a project.
const PUSHING: &[&str] = &["push_bundle"];
/// The kinds of step that turn scenarios and web apps off, and note before how they were.
const TURNING_OFF: &[&str] = &["activate", freeze::SWITCH_OFF];
/// The kinds of step after which they are as they should be.
const PUTTING_BACK: &[&str] = &[freeze::VERIFY, freeze::RESTORE];

/// Whoever does steps in this process.
pub(crate) struct Steps {
    pub(crate) deployer: Deployer,
    pub(crate) hooks: HookSettings,
    pub(crate) supervisor: crate::hooks::Supervisor,
    pub(crate) retention: Retention,
    pub(crate) drift: DriftSettings,
}

/// What a step on the node works with.
struct Prepared {
    context: Context,
    spec: DeploySpec,
    contents: BundleContents,
    imports: Imports,
    target: Arc<dyn Target>,
}

impl Prepared {
    fn work<'a>(&'a self, deployer: &'a Deployer) -> Work<'a> {
        Work {
            spec: &self.spec,
            contents: &self.contents,
            packages: &deployer.packages,
            imports: &self.imports,
            run: &self.context,
        }
    }
}

impl Steps {
    /// What was read before the platform was changed, by a run that ended in between or that switched it off, is still what was there before.
    async fn inherit(&self, prepared: &Prepared, step: &str, kinds: &[&str]) -> Result<(), StepError> {
        let context = &prepared.context;
        // This run has its own already: by an earlier attempt, or of the run that it retries.
        if !prepared.target.inherits(step, &|key| context.note(key)).is_empty() {
            return Ok(());
        }
        let db = &self.deployer.db;
        let lane = context.planned.lane.as_deref();
        let found = engine::runs::due::unfinished_notes(db, &context.held.row, lane, kinds, PUTTING_BACK);
        let found = found.await.map_err(unavailable)?;
        for (key, value) in prepared.target.inherits(step, &|key| found.get(&notes::on(lane, key)).cloned()) {
            if context.note(key).is_none() {
                context.put_note(key, value).await?;
            }
        }
        Ok(())
    }

    fn target(&self, kind: TargetType) -> Result<Arc<dyn Target>, StepError> {
        let found = self.deployer.targets.find(kind);
        found.ok_or_else(|| internal(format!("this build lacks the platform {kind}")))
    }

    async fn prepare(&self, context: &Context) -> Result<Prepared, StepError> {
        let lane = context.planned.lane.as_deref();
        let spec = spec(context)?.on(lane).ok_or_else(|| internal("a step of a node that the spec does not name"))?;
        let package = &spec.package;
        let contents = deployer::contents::of_bundle(&self.deployer, &package.project_key, &package.bundle_id);
        let contents = contents.await.map_err(from_deployer)?.unwrap_or_default();
        Ok(Prepared {
            context: context.with(&self.deployer),
            imports: Imports::new(self.deployer.db.clone(), package.project_key.clone()),
            contents,
            target: self.target(spec.infrastructure.kind)?,
            spec,
        })
    }

    /// One attempt at a step that works on a node.
    async fn on_node(&self, context: &Context, planned: &PlannedStep) -> StepResult {
        let prepared = self.prepare(context).await?;
        let work = prepared.work(&self.deployer);
        match planned.kind.as_str() {
            "validate_remap" => prepared.target.validate(&work).await,
            "push_bundle" => {
                self.inherit(&prepared, "push_bundle", PUSHING).await?;
                prepared.target.push(&work).await
            }
            "activate" => {
                self.inherit(&prepared, "activate", TURNING_OFF).await?;
                prepared.target.activate(&work).await
            }
            "enforce_run_as" => prepared.target.enforce(&work).await,
            "verify" => prepared.target.verify(&work).await,
            "switch_off" => {
                // Kept by each: what a later one inherits are the notes of the newest.
                self.inherit(&prepared, "switch_off", TURNING_OFF).await?;
                prepared.target.switch_off(&work).await
            }
            "delete_project" => prepared.target.remove(&work).await,
            "restore" => prepared.target.restore(&work).await,
            other => Err(Failure::new(
                STEP_UNKNOWN,
                format!(
                    "This worker does not know steps of kind {other}. Upgrade the workers to the version of the API."
                ),
            )
            .permanent()),
        }
    }
}

#[async_trait]
impl Doer for Steps {
    async fn perform(&self, context: &Context, planned: &PlannedStep) -> StepResult {
        if planned.kind == "check_policy" {
            let spec = spec(context)?;
            let (requester, at, kind) = {
                let state = context.held.state();
                (state.spec.requester.clone(), state.requested_at, UpdateType::of(&state.spec))
            };
            let asked = Asked { requester: &requester, at };
            let last = context.attempt >= planned.policy.retry.max_attempts;
            let warnings = deployer::policy::check(&self.deployer, asked, &spec, kind, last).await?;
            return Ok(StepOutcome::Done { output: serde_json::Value::Null, warnings });
        }
        let result = self.on_node(context, planned).await;
        match &planned.lane {
            Some(node) => named(node, result),
            None => result,
        }
    }

    async fn leave_safe(&self, context: &Context) -> Result<Option<String>, Lost> {
        if context.held.state().spec.plan.on_failure == OnFailure::Restore {
            return Ok(None);
        }
        let target = spec(context).and_then(|spec| self.target(spec.infrastructure.kind));
        if !target.is_ok_and(|target| target.needs_leaving_safe(&|key| context.note(key))) {
            return Ok(None);
        }
        let result = match self.prepare(context).await {
            Ok(prepared) => prepared.target.leave_safe(&prepared.work(&self.deployer)).await,
            Err(error) => Err(error),
        };
        let place = context.planned.lane.as_ref().map(|node| format!(" on node {node}")).unwrap_or_default();
        match result {
            Ok(off) if off.is_empty() => Ok(None),
            Ok(off) => {
                Ok(Some(format!("Left off{place}, since their run-as user could not be verified: {}.", off.join(", "))))
            }
            Err(StepError::LeaseLost) => Err(Lost),
            Err(_) => Ok(Some(format!("Scenarios may have been left off{place}: the node could not be asked."))),
        }
    }

    fn is_in_flight(&self, context: &Context) -> bool {
        // A spec or a platform that this worker can't read has no call of its own on the way.
        let target = spec(context).and_then(|spec| self.target(spec.infrastructure.kind));
        target.is_ok_and(|target| target.is_in_flight(&|key| context.note(key)))
    }

    fn lacks(&self, planned: &PlannedStep) -> Option<String> {
        hook::lacks(&self.hooks, planned)
    }

    async fn hook(
        &self,
        context: &Context,
        planned: &PlannedStep,
        slots: &Slots,
        demand: &Demand,
        stop: CancellationToken,
    ) -> StepResult {
        hook::run(self, context, planned, slots, demand, stop).await
    }

    fn tends(&self) -> bool {
        true
    }

    async fn tend(&self) -> drift::Swept {
        if let Err(error) = deployments::removal::sweep(&self.deployer.db).await {
            tracing::warn!(error = ?error, "deleted deployments could not be removed");
        }
        match drift::sweep(&self.deployer, self.drift).await {
            Ok(swept) => swept,
            Err(error) => {
                tracing::warn!(error = ?error, "nodes could not be compared with their last updates");
                drift::Swept::default()
            }
        }
    }

    async fn forget_old(&self) {
        if let Err(error) = deployer::updates::idempotency::forget_old(&self.deployer).await {
            tracing::warn!(error = ?error, "old idempotency keys could not be forgotten");
        }
        if let Err(error) = engine::leases::forget_old(&self.deployer.db).await {
            tracing::warn!(error = %error, "workers of long ago could not be forgotten");
        }
        match retain::retain(&self.deployer.db, self.retention).await {
            Ok(gone) if gone != retain::Forgotten::default() => {
                tracing::info!(runs = gone.runs, logs = gone.logs, "forgot what is older than is kept");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %error, "old runs could not be forgotten"),
        }
    }
}

/// What a step on one of several nodes answered, with the node's name where people read it.
fn named(node: &str, result: StepResult) -> StepResult {
    let told = |failure: Failure| Failure { message: format!("Node {node}: {}", failure.message), ..failure };
    match result {
        Ok(StepOutcome::Done { output, warnings }) => {
            let warnings = warnings.into_iter().map(|warning| format!("Node {node}: {warning}")).collect();
            Ok(StepOutcome::Done { output, warnings })
        }
        Err(StepError::Permanent(failure)) => Err(StepError::Permanent(told(failure))),
        Err(StepError::Retryable { failure, retry_after }) => {
            Err(StepError::Retryable { failure: told(failure), retry_after })
        }
        other => other,
    }
}

/// What the run deploys.
fn spec(context: &Context) -> Result<DeploySpec, StepError> {
    let body = context.held.state().spec.body.clone();
    serde_json::from_value(body).map_err(|error| internal(format!("the spec cannot be read: {error}")))
}
