//! Scenarios: definitions, switches, scripts.

use crate::activation::local_scenario;
use crate::auth::{Need, Who};
use crate::reply::{Answer, Refusal, Reply};
use crate::request::{Asked, check_id, text};
use crate::state::{Project, Scenario, replace_definition};
use serde_json::{Value, json};

/// The run-as field of a scenario.
pub(crate) const RUN_AS: &str = "runAsUser";
/// What a PUT of the light form changes; anything else in it is ignored.
const LIGHT: [&str; 5] = ["active", "checklists", "description", "shortDesc", "tags"];

pub(crate) fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Scenario, Refusal> {
    project.scenarios.get(id).ok_or_else(|| no_scenario(&project.key, id))
}

pub(crate) fn find_mut<'a>(project: &'a mut Project, id: &str) -> Result<&'a mut Scenario, Refusal> {
    let missing = no_scenario(&project.key, id);
    project.scenarios.get_mut(id).ok_or(missing)
}

fn no_scenario(key: &str, id: &str) -> Refusal {
    Refusal::missing(format!("there is no scenario {id} in project {key}"))
}

/// `GET /projects/K/scenarios/`.
pub(crate) fn list(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let state = asked.core.state();
    let project = state.project(who, key, Need::Read)?;
    let item = |scenario: &Scenario| {
        let field = |name: &str| scenario.definition.get(name).cloned().unwrap_or_default();
        json!({
            "projectKey": key, "id": field("id"), "name": field("name"), "active": field("active"),
            "running": scenario.runs.iter().any(|run| !run.has_ended()),
            "markedAsTest": field("markedAsTest") == true, "tags": field("tags"), "type": field("type"),
        })
    };
    Ok(Reply::Json(project.scenarios.values().map(item).collect()))
}

/// `POST /projects/K/scenarios/`: one that belongs to this node.
pub(crate) fn create(asked: &Asked<'_>, who: &Who, key: &str) -> Answer {
    let body = asked.json.object()?;
    let name = text(body, "name").ok_or_else(|| Refusal::bad("name is needed"))?;
    if !matches!(text(body, "type"), Some("step_based" | "custom_python")) {
        return Err(Refusal::bad("type is step_based or custom_python"));
    }
    let mut state = asked.core.state();
    let project = state.project_mut(who, key, Need::Write)?;
    let id = text(body, "id").unwrap_or(name).to_owned();
    check_id("the scenario's id", &id)?;
    if project.scenarios.contains_key(&id) {
        return Err(Refusal::bad(format!("there is a scenario {id} in project {key} already")));
    }
    let scenario = local_scenario(project, who, &id, body);
    project.scenarios.insert(id.clone(), scenario);
    Ok(Reply::Json(json!({"id": id})))
}

/// `GET .../scenarios/S`.
pub(crate) fn get(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let state = asked.core.state();
    Ok(Reply::Json(Value::Object(find(state.project(who, key, Need::Read)?, id)?.definition.clone())))
}

/// `PUT .../scenarios/S`: the whole definition.
pub(crate) fn put(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let new = asked.json.object()?;
    if !matches!(text(new, "type"), Some("step_based" | "custom_python")) {
        return Err(Refusal::bad("type is step_based or custom_python"));
    }
    if !new.get("active").is_none_or(Value::is_boolean) {
        return Err(Refusal::bad("active is no boolean"));
    }
    let mut state = asked.core.state();
    let old = &find(state.project(who, key, Need::Write)?, id)?.definition;
    let definition = replace_definition(old, new, id, RUN_AS, who, |login| state.check_user(login))?;
    let scenario = find_mut(state.project_mut(who, key, Need::Write)?, id)?;
    scenario.definition = definition;
    scenario.arm();
    Ok(Reply::Json(json!({})))
}

/// `DELETE .../scenarios/S`.
pub(crate) fn delete(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let mut state = asked.core.state();
    let project = state.project_mut(who, key, Need::Write)?;
    find(project, id)?;
    project.scenarios.remove(id);
    Ok(Reply::Json(json!({})))
}

/// `GET .../scenarios/S/light`.
pub(crate) fn light(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let state = asked.core.state();
    let definition = &find(state.project(who, key, Need::Read)?, id)?.definition;
    let mut value = json!({"running": false});
    for name in ["projectKey", "id", "name", "type", "markedAsTest"].into_iter().chain(LIGHT) {
        if let Some(field) = definition.get(name) {
            value[name] = field.clone();
        }
    }
    Ok(Reply::Json(value))
}

/// `PUT .../scenarios/S/light`: the switch and the texts. The last editor stays who he was.
pub(crate) fn put_light(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let body = asked.json.object()?;
    if !body.get("active").is_none_or(Value::is_boolean) {
        return Err(Refusal::bad("active is no boolean"));
    }
    let mut state = asked.core.state();
    let scenario = find_mut(state.project_mut(who, key, Need::Write)?, id)?;
    for name in LIGHT {
        if let Some(field) = body.get(name) {
            scenario.definition.insert(name.to_owned(), field.clone());
        }
    }
    scenario.arm();
    Ok(Reply::Json(json!({})))
}

/// `GET .../scenarios/S/payload`.
pub(crate) fn payload(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let state = asked.core.state();
    Ok(Reply::Json(json!({"script": find(state.project(who, key, Need::Read)?, id)?.script})))
}

/// `PUT .../scenarios/S/payload`.
pub(crate) fn put_payload(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let script = text(asked.json.object()?, "script").ok_or_else(|| Refusal::bad("script is needed"))?.to_owned();
    let mut state = asked.core.state();
    find_mut(state.project_mut(who, key, Need::Write)?, id)?.script = script;
    Ok(Reply::Json(json!({})))
}
