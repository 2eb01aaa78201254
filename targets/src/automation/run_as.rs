//! Step `enforce_run_as`, at every run: the run-as user on every scenario and web app, and only then the scenarios' switches.

use engine::failure::{Failure, StepError, StepOutcome, StepResult};
use serde_json::{Map, Value};

use super::{
    activate::RUN_AS_USER,
    goal::{Goal, RunAs},
    notes::{self, States},
    session::Session,
    switches, webapps,
};
use crate::codes;

pub(super) async fn enforce(session: &Session<'_>) -> StepResult {
    let states: States = notes::read(session.run(), notes::STATES).unwrap_or_default();
    enforce_goal(session, &Goal::update(session.spec(), states)).await
}

/// Brings run-as users, switches and backends to what `goal` says.
pub(super) async fn enforce_goal(session: &Session<'_>, goal: &Goal<'_>) -> StepResult {
    session.project().await?;
    for scenario in session.api.scenarios(session.key()).await? {
        ensure_scenario(session, &scenario.id, &goal.scenario_run_as(&scenario.id)).await?;
    }
    webapps::ensure(session, goal).await?;
    switches::switch(session, goal).await?;
    match webapps::started(session, goal).await? {
        webapps::Backends::Starting(check_in) => Ok(StepOutcome::NotYet { check_in }),
        webapps::Backends::Settled(warnings) => Ok(StepOutcome::Done { output: Value::Null, warnings }),
    }
}

async fn ensure_scenario(session: &Session<'_>, id: &str, wanted: &RunAs) -> Result<(), StepError> {
    if *wanted == RunAs::Any {
        return Ok(());
    }
    let (api, key) = (&session.api, session.key());
    let mut definition = api.scenario(key, id).await?;
    if wanted.holds(&definition, RUN_AS_USER) {
        return Ok(());
    }
    wanted.write(&mut definition, RUN_AS_USER);
    api.put_scenario(key, id, definition).await?;
    let what = format!("scenario {}", api.clean(id));
    taken(session, &what, wanted, &api.scenario(key, id).await?, RUN_AS_USER)?;
    session.log(format!("The run-as user of {what} is now {}.", wanted.told())).await;
    Ok(())
}

/// The node must show what it accepted.
pub(super) fn taken(
    session: &Session<'_>,
    what: &str,
    wanted: &RunAs,
    definition: &Map<String, Value>,
    field: &str,
) -> Result<(), StepError> {
    if wanted.holds(definition, field) {
        return Ok(());
    }
    let found =
        definition.get(field).map_or_else(|| "nothing".to_owned(), |value| session.api.clean_value(value).to_string());
    let message = format!(
        "The node accepted the run-as user of {what}, but does not show it: the field {field} holds {found}. It stays off. Check the rights of the key, and the name of the web app's run-as field in the infrastructure's settings."
    );
    Err(Failure::new(codes::RUN_AS_NOT_TAKEN, message).permanent())
}
