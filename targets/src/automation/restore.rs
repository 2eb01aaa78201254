//! Puts back what was active before this run, from its notes: remapping, local variables, the bundle (with scenarios off), run-as users, then switches.

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde_json::Value;

use super::{
    activate::{Activation, every_scenario, read_states},
    container::Container,
    flight::{Flight, Flown, Intent, check_in, unknown},
    goal::Goal,
    notes::{self, Prior, States},
    run_as,
    session::Session,
    settings, switches, verify,
};
use crate::{codes, http::Http, target::Work};

/// A restore that fails leaves the node between two states: a human must look.
pub(super) async fn restore(http: &Http, work: &Work<'_>) -> StepResult {
    let restored = async { put_back(&Session::open(http, work).await?).await };
    restored.await.map_err(unknown)
}

async fn put_back(session: &Session<'_>) -> StepResult {
    let run = session.run();
    // An activation whose end nobody heard of could overtake ours.
    let flight = Flight { run, note: notes::ACTIVATE, settle: session.settle() };
    let activated = flight.intent();
    if let Some(rest) = in_flight(session, &flight, activated.clone()).await? {
        return Ok(StepOutcome::NotYet { check_in: check_in(rest) });
    }
    let prior: Option<Prior> = notes::read(run, notes::PRIOR);
    let Some(prior) = prior.filter(|prior| prior.bundle.is_some()) else { return leave(session).await };
    let states: States = match notes::read(run, notes::STATES) {
        Some(states) => states,
        // The activation had not begun: switches are as they were.
        None => read_states(session).await?,
    };
    let Some(goal) = Goal::restore(session.spec(), &prior, states.clone()) else { return leave(session).await };

    settings::put_back_container(session, &prior).await?;
    if let Some(local) = goal.local {
        settings::write_local(session, local).await?;
    }
    let project = session.project().await?;
    let touched = activated.is_some_and(|intent| intent.may_have_acted());
    if touched || project.active_bundle.as_deref() != Some(goal.bundle) {
        let imported = session.api.imported_bundles(session.key()).await?;
        if !imported.contains(goal.bundle) {
            let message = format!("The bundle {} that was active before is not on the node any more.", goal.bundle);
            return Err(Failure::new(codes::NODE_NOT_FOUND, message).permanent());
        }
        let off = every_scenario(session, states.scenarios.keys().map(String::as_str)).await?;
        let call = Activation { session, note: notes::RESTORE, bundle: goal.bundle, container: &goal.container, off };
        if let Flown::Wait(check_in) = session.perform(&call).await? {
            return Ok(StepOutcome::NotYet { check_in });
        }
    }
    match run_as::enforce_goal(session, &goal).await? {
        wait @ StepOutcome::NotYet { .. } => Ok(wait),
        StepOutcome::Done { warnings: more, .. } => match verify::outcome(verify::receipt(session, &goal).await?)? {
            StepOutcome::Done { output, mut warnings } => {
                warnings.extend(more);
                Ok(StepOutcome::Done { output, warnings })
            }
            wait => Ok(wait),
        },
    }
}

/// With nothing active before there is nothing to put back: what is on the node stands, as under LEAVE, and that is said.
async fn leave(session: &Session<'_>) -> StepResult {
    let off = switches::leave_safe(session, true).await?;
    let mut said =
        "Nothing was active before this update, so nothing was put back: what it did on the node stands.".to_owned();
    if !off.is_empty() {
        said = format!("{said} Left off, since their run-as user could not be verified: {}.", off.join(", "));
    }
    Ok(StepOutcome::Done { output: Value::Null, warnings: vec![said] })
}

/// How long the run's own activation may still be going on at the node.
async fn in_flight(
    session: &Session<'_>,
    flight: &Flight<'_>,
    intent: Option<Intent>,
) -> Result<Option<std::time::Duration>, StepError> {
    let Some(mut intent) = intent else { return Ok(None) };
    let call = Activation {
        session,
        note: notes::ACTIVATE,
        bundle: session.bundle(),
        container: &Container::of(session.spec()),
        off: Default::default(),
    };
    if intent.is_seen(&call).await? { Ok(None) } else { flight.rest(&mut intent).await }
}
