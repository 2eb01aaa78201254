//! Web apps and their backends. A backend runs as the user whom the definition named when it was (re)started.

use crate::auth::{Need, Who};
use crate::reply::{Answer, Refusal, Reply};
use crate::request::Asked;
use crate::state::{Backend, Project, Webapp, replace_definition, run_as};
use serde_json::{Value, json};

fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Webapp, Refusal> {
    project.webapps.get(id).ok_or_else(|| no_webapp(&project.key, id))
}

fn find_mut<'a>(project: &'a mut Project, id: &str) -> Result<&'a mut Webapp, Refusal> {
    let missing = no_webapp(&project.key, id);
    project.webapps.get_mut(id).ok_or(missing)
}

fn no_webapp(key: &str, id: &str) -> Refusal {
    Refusal::missing(format!("there is no web app {id} in project {key}"))
}

/// `GET /projects/K/webapps/`.
pub(crate) fn list(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let state = asked.core.state();
    let project = state.project(who, key, Need::Read)?;
    let item = |webapp: &Webapp| {
        let field = |name: &str| webapp.definition.get(name).cloned().unwrap_or_default();
        let running = webapp.backend.as_ref().is_some_and(|backend| backend.alive);
        json!({
            "projectKey": key, "id": field("id"), "name": field("name"), "type": field("type"), "tags": field("tags"),
            "hasBackend": true, "backendRunning": running,
        })
    };
    Ok(Reply::Json(project.webapps.values().map(item).collect()))
}

/// `GET .../webapps/W`.
pub(crate) fn get(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let state = asked.core.state();
    Ok(Reply::Json(Value::Object(find(state.project(who, key, Need::Read)?, id)?.definition.clone())))
}

/// `PUT .../webapps/W`: the whole definition. A running backend does not take it before it is restarted.
pub(crate) fn put(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let new = asked.json.object()?;
    let field = &asked.core.config.webapp_run_as;
    let mut state = asked.core.state();
    let old = &find(state.project(who, key, Need::Write)?, id)?.definition;
    let definition = replace_definition(old, new, id, field, who, |login| state.check_user(login))?;
    find_mut(state.project_mut(who, key, Need::Write)?, id)?.definition = definition;
    Ok(Reply::Json(json!({})))
}

/// `GET .../webapps/W/backend/state`: without `futureInfo` when it was never started.
pub(crate) fn state(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let state = asked.core.state();
    let webapp = find(state.project(who, key, Need::Read)?, id)?;
    let mut value = json!({"projectKey": key, "webAppId": id});
    if let Some(backend) = &webapp.backend {
        value["futureInfo"] = json!({"jobId": backend.job, "alive": backend.alive, "hasResult": !backend.alive});
    }
    Ok(Reply::Json(value))
}

/// `PUT .../webapps/W/backend/actions/restart`: starts it, too. Answers a future.
pub(crate) fn restart(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let mut state = asked.core.state();
    find(state.project(who, key, Need::Write)?, id)?;
    let job = state.future(json!({"projectKey": key, "webAppId": id}));
    let webapp = find_mut(state.project_mut(who, key, Need::Write)?, id)?;
    let user = run_as(&webapp.definition, &asked.core.config.webapp_run_as);
    webapp.backend = Some(Backend { alive: true, run_as: user, job: job.clone() });
    Ok(Reply::Json(json!({"jobId": job, "hasResult": false, "alive": true, "aborted": false})))
}

/// `PUT .../webapps/W/backend/actions/stop`.
pub(crate) fn stop(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let mut state = asked.core.state();
    if let Some(backend) = &mut find_mut(state.project_mut(who, key, Need::Write)?, id)?.backend {
        backend.alive = false;
    }
    Ok(Reply::Empty)
}
