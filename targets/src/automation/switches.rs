//! Scenarios on, off, or as they were.

use engine::failure::StepError;

use super::{
    activate::RUN_AS_USER,
    flight::effect_missing,
    goal::Goal,
    notes::{self, States},
    session::Session,
};
use crate::http::CallError;

/// Switches every scenario that differs from `goal`, and reads back.
pub(super) async fn switch(session: &Session<'_>, goal: &Goal<'_>) -> Result<(), StepError> {
    let (api, key) = (&session.api, session.key());
    let mut any = false;
    for scenario in api.scenarios(key).await? {
        let on = goal.scenario_on(&scenario.id);
        if scenario.active != on {
            any = true;
            api.switch_scenario(key, &scenario.id, on).await?;
            session
                .log(format!("Scenario {} is now {}.", api.clean(&scenario.id), if on { "on" } else { "off" }))
                .await;
        }
    }
    if any && api.scenarios(key).await?.iter().any(|scenario| scenario.active != goal.scenario_on(&scenario.id)) {
        return Err(effect_missing("switching the scenarios").retryable(None));
    }
    Ok(())
}

/// When run-as could not be enforced for good: switches on those that should be on *and* run as they should. Answers the ids of those that stay off. `again`: what
/// may pass fails the attempt; else it is the last one, and what could not be asked stays off.
pub(super) async fn leave_safe(session: &Session<'_>, again: bool) -> Result<Vec<String>, StepError> {
    // Without this note nothing was switched off by us.
    let Some(states) = notes::read::<States>(session.run(), notes::STATES) else { return Ok(Vec::new()) };
    let goal = Goal::update(session.spec(), states);
    let mut off = Vec::new();
    for scenario in session.api.scenarios(session.key()).await? {
        if scenario.active || !goal.scenario_on(&scenario.id) {
            continue;
        }
        match switch_if_safe(session, &goal, &scenario.id).await {
            Ok(true) => {}
            Ok(false) => off.push(session.api.clean(&scenario.id)),
            Err(error) if again && error.retryable => return Err(error.into()),
            Err(error) => {
                tracing::warn!(run = %session.run().run(), code = %error.failure.code, "a scenario stays off: the node could not be asked about it");
                off.push(session.api.clean(&scenario.id));
            }
        }
    }
    Ok(off)
}

async fn switch_if_safe(session: &Session<'_>, goal: &Goal<'_>, id: &str) -> Result<bool, CallError> {
    let definition = session.api.scenario(session.key(), id).await?;
    if !goal.scenario_run_as(id).holds(&definition, RUN_AS_USER) {
        return Ok(false);
    }
    session.api.switch_scenario(session.key(), id, true).await?;
    Ok(session.api.scenarios(session.key()).await?.iter().any(|scenario| scenario.id == id && scenario.active))
}
