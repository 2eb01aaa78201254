//! What a hook needs of its worker. Whoever lacks it leaves the run to others for as long as a slot may be waited for, from the attempt's beginning;
//! then somebody says that nobody had it in time.

use std::time::Duration;

use engine::{
    db::DbErr,
    failure::{Code, Failure, StepOutcome, StepResult},
    journal::{Next, State},
    plan::PlannedStep,
    step::{Audience, StepContext},
    store::Store,
};

use crate::{context::Context, doer::Doer};

/// The code of a hook whose code env no worker had in time.
pub(crate) const CODE_ENV_UNAVAILABLE: Code = Code::new("CODE_ENV_UNAVAILABLE");

/// The hook has not begun; somebody looks again soon.
pub(crate) const AGAIN: StepOutcome = StepOutcome::NotYet { check_in: Duration::from_millis(500) };

/// Whether this worker should take the run: it has what the next step needs, or it is the one to say that nobody had it in time.
pub(crate) async fn suits(store: &dyn Store, doer: &dyn Doer, state: &State) -> bool {
    let (Next::Resume { step, .. } | Next::Start { step, .. }) = state.next() else { return true };
    let planned = &state.spec.plan.steps[step];
    let Some(attempt) = state.steps[step].attempts.last() else { return true };
    doer.lacks(planned).is_none() || is_too_late(store, planned, attempt.started_at).await.unwrap_or(false)
}

/// The answer for a hook that this worker can't run, before it takes a slot from one that could run here; None when it can.
pub(crate) async fn elsewhere(store: &dyn Store, doer: &dyn Doer, context: &Context) -> Option<StepResult> {
    let planned = &context.planned;
    let what = doer.lacks(planned)?;
    let started_at = context.held.state().under_way().map_or(0, |(_, attempt)| attempt.started_at);
    match is_too_late(store, planned, started_at).await {
        Ok(false) => {}
        Ok(true) => {
            let message = format!(
                "No worker that has what {} needs took it in time. Ask an operator to start one, or change the hook.",
                planned.name
            );
            let failure = Failure::new(CODE_ENV_UNAVAILABLE, message).detail(format!("it needs {what}"));
            return Some(Err(failure.permanent()));
        }
        Err(_) => return Some(Ok(AGAIN)),
    }
    context.log(Audience::Everyone, format!("{} waits for a worker that has what it needs.", planned.name)).await;
    context.log(Audience::InfrastructureAdmins, format!("It needs {what}.")).await;
    Some(Ok(AGAIN))
}

async fn is_too_late(store: &dyn Store, planned: &PlannedStep, started_at: i64) -> Result<bool, DbErr> {
    let patience = planned.slot.as_ref().map_or(0, |slot| slot.wait_ms);
    Ok(store.now().await? - started_at > i64::try_from(patience).unwrap_or(i64::MAX / 2_000) * 1_000)
}
