//! Steps `switch_off` and `delete_project`: what becomes of a project on the node whose deployment is disabled or deleted.

use std::time::Duration;

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;

use super::{
    activate::note_states,
    calls::is_running,
    client::As,
    flight::{effect_missing, remaining},
    notes,
    session::Session,
};
use crate::http::Effect;

/// A node that deletes is asked again after this.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Every scenario off, every backend stopped. What was on before is noted, so that enabling puts it back.
pub(super) async fn switch_off(session: &Session<'_>) -> StepResult {
    let (api, key) = (&session.api, session.key());
    if api.project(key).await?.is_none() {
        return Ok(absent(session));
    }
    note_states(session).await?;
    let (mut scenarios, mut webapps) = (Vec::new(), Vec::new());
    for scenario in api.scenarios(key).await?.into_iter().filter(|scenario| scenario.active) {
        api.switch_scenario(key, &scenario.id, false).await?;
        let shown = api.clean(&scenario.id);
        session.log(format!("Scenario {shown} is now off.")).await;
        scenarios.push(shown);
    }
    for id in api.webapps(key).await? {
        if is_running(&api.backend_state(key, &id).await?) {
            api.stop_backend(key, &id).await?;
            let shown = api.clean(&id);
            session.log(format!("The backend of web app {shown} is now stopped.")).await;
            webapps.push(shown);
        }
    }
    look_again(session).await?;
    Ok(StepOutcome::output(json!({"scenariosSwitchedOff": scenarios, "webappsStopped": webapps})))
}

/// The node must show what it was told.
async fn look_again(session: &Session<'_>) -> Result<(), StepError> {
    let (api, key) = (&session.api, session.key());
    if api.scenarios(key).await?.iter().any(|scenario| scenario.active) {
        return Err(effect_missing("switching the scenarios off").retryable(None));
    }
    for id in api.webapps(key).await? {
        if is_running(&api.backend_state(key, &id).await?) {
            return Err(effect_missing("stopping the web apps").retryable(None));
        }
    }
    Ok(())
}

fn absent(session: &Session<'_>) -> StepOutcome {
    let warning = format!("The project {} is not on the node: there was nothing to do.", session.key());
    StepOutcome::Done { output: json!({}), warnings: vec![warning] }
}

/// The project goes, with its datasets' definitions, scenarios and bundles. Data that it manages stays where it lies.
pub(super) async fn delete_project(session: &Session<'_>) -> StepResult {
    let (api, run, key) = (&session.api, session.run(), session.key());
    let asked: Option<i64> = notes::read(run, notes::DELETE);
    if api.project(key).await?.is_none() {
        return Ok(match asked {
            Some(_) => StepOutcome::output(json!({"projectDeleted": key})),
            None => absent(session),
        });
    }
    // A call whose answer was lost may still be at it.
    if let Some(asked) = asked
        && remaining(asked, session.settle(), run.now().await?).is_some()
    {
        return Ok(StepOutcome::NotYet { check_in: LOOK_EVERY });
    }
    notes::write(run, notes::DELETE, &run.now().await?).await?;
    session.log(format!("Deleting the project {} on the node.", api.clean(key))).await;
    let query = [
        ("clearManagedDatasets", "False"),
        ("clearOutputManagedFolders", "False"),
        ("clearJobAndScenarioLogs", "True"),
        ("wait", "True"),
    ];
    if let Err(error) = api.delete(&["projects", key], &query, As::Actor, "deleting the project").await {
        // It is over at the node: the next attempt need not wait for it.
        if error.effect != Effect::Unknown {
            notes::write(run, notes::DELETE, &None::<i64>).await?;
        }
        return Err(error.into());
    }
    if api.project(key).await?.is_some() {
        return Ok(StepOutcome::NotYet { check_in: LOOK_EVERY });
    }
    Ok(StepOutcome::output(json!({"projectDeleted": key})))
}
