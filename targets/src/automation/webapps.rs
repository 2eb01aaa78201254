//! Web apps: their run-as user, and their backends. A running backend keeps its old identity until it is restarted, so a restart that is due is noted before the
//! definition changes.

use std::{collections::BTreeMap, time::Duration};

use engine::failure::StepError;
use serde_json::Value;

use super::{
    calls::is_running,
    flight::remaining,
    goal::Goal,
    notes::{self, Restart},
    run_as::taken,
    session::Session,
};

/// A backend may take so long to start; then it is warned of.
const START_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Restarts = BTreeMap<String, Restart>;

/// Whether the backends that were asked to start have started.
pub(super) enum Backends {
    /// Look again after this.
    Starting(Duration),
    /// All are up, or warned of.
    Settled(Vec<String>),
}

/// Sets run-as users, and restarts the backends that need it.
pub(super) async fn ensure(session: &Session<'_>, goal: &Goal<'_>) -> Result<(), StepError> {
    let (api, key) = (&session.api, session.key());
    for id in api.webapps(key).await? {
        let wanted = goal.webapp_run_as(&id);
        let field = api.webapp_run_as_field.as_str();
        let mut definition = api.webapp(key, &id).await?;
        let state = api.backend_state(key, &id).await?;
        let changes = !wanted.holds(&definition, field);
        wanted.write(&mut definition, field);
        if due(session, goal, &id, changes, definition.get(field), is_running(&state)) {
            note(session, goal, &id, Restart { before: state, asked_at: None }).await?;
        }
        if changes {
            api.put_webapp(key, &id, definition).await?;
            let what = format!("web app {}", api.clean(&id));
            taken(session, &what, &wanted, &api.webapp(key, &id).await?, field)?;
            session.log(format!("The run-as user of {what} is now {}.", wanted.told())).await;
        }
        restart(session, goal, &id).await?;
    }
    Ok(())
}

fn restarts(session: &Session<'_>, goal: &Goal<'_>) -> Restarts {
    notes::read(session.run(), goal.restarts).unwrap_or_default()
}

async fn note(session: &Session<'_>, goal: &Goal<'_>, id: &str, restart: Restart) -> Result<(), StepError> {
    let mut all = restarts(session, goal);
    all.insert(id.to_owned(), restart);
    notes::write(session.run(), goal.restarts, &all).await
}

/// Whether a backend must be restarted that this run has not noted yet, or whose definition is about to change again.
fn due(session: &Session<'_>, goal: &Goal<'_>, id: &str, changes: bool, run_as: Option<&Value>, running: bool) -> bool {
    let noted = restarts(session, goal).contains_key(id);
    if changes && (running || goal.webapp_ran(id)) {
        return true;
    }
    if noted {
        return false;
    }
    // It runs as whom it was started; the activation changed the definition under it, or the update that is being put back restarted it.
    let other = goal.webapp_recorded(id).is_some_and(|recorded| recorded.as_ref() != run_as);
    let restarted_before = goal.restarts != notes::RESTARTS
        && notes::read::<Restarts>(session.run(), notes::RESTARTS).is_some_and(|before| before.contains_key(id));
    (running && (other || restarted_before)) || (!running && goal.webapp_ran(id))
}

/// Restarts a backend that is noted for it, unless an earlier attempt did.
async fn restart(session: &Session<'_>, goal: &Goal<'_>, id: &str) -> Result<(), StepError> {
    let Some(noted) = restarts(session, goal).remove(id).filter(|restart| restart.asked_at.is_none()) else {
        return Ok(());
    };
    let now = session.api.backend_state(session.key(), id).await?;
    // An answer of ours was lost: a backend runs, and it is another one.
    if !is_running(&now) || now == noted.before {
        session.log(format!("Restarting the backend of web app {}.", session.api.clean(id))).await;
        session.api.restart_backend(session.key(), id).await?;
    }
    let asked_at = Some(session.run().now().await?);
    note(session, goal, id, Restart { asked_at, ..noted }).await
}

/// Looks whether restarted backends run.
pub(super) async fn started(session: &Session<'_>, goal: &Goal<'_>) -> Result<Backends, StepError> {
    let restarts = restarts(session, goal);
    let mut warnings = Vec::new();
    let mut starting = false;
    let there = if restarts.is_empty() { Vec::new() } else { session.api.webapps(session.key()).await? };
    for (id, restart) in restarts.iter().filter(|(id, _)| there.contains(id)) {
        if is_running(&session.api.backend_state(session.key(), id).await?) {
            continue;
        }
        let since = restart.asked_at.unwrap_or_default();
        if remaining(since, START_WITHIN, session.run().now().await?).is_some() {
            starting = true;
        } else {
            let (id, within) = (session.api.clean(id), START_WITHIN.as_secs());
            warnings.push(format!("The backend of web app {id} was restarted, but did not start within {within} seconds. Look at its log on the node."));
        }
    }
    Ok(if starting { Backends::Starting(LOOK_EVERY) } else { Backends::Settled(warnings) })
}

/// A definition's run-as user, for a receipt.
pub(super) fn run_as(definition: &serde_json::Map<String, Value>, field: &str) -> Option<String> {
    definition.get(field).and_then(Value::as_str).map(str::to_owned)
}
