//! Preloading and activating a bundle (wire contract, section 3). Both answer a report inside a 200, also when they fail.

use crate::auth::{Need, Who};
use crate::clock::now_ms;
use crate::manifest::Manifest;
use crate::reply::{Answer, Refusal, Reply};
use crate::report::Report;
use crate::request::{Asked, Object, text};
use crate::state::{ActiveBundle, Backend, Project, Scenario, State, Webapp, run_as};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// `POST .../imported/B/actions/preload`: makes the code envs ready.
pub(crate) fn preload(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let mut state = asked.core.state();
    let project = state.project(who, key, Need::Write)?;
    let wanted: Vec<String> =
        project.bundle(id)?.manifest.code_envs.iter().map(|env| target(project, "codeEnvs", &env.name)).collect();
    let must_exist =
        container(project).is_some_and(|container| container["codeEnvsBehavior"]["importTimeMode"] == "FAIL_IF_MISS");
    let mut report = Report::default();
    for env in wanted {
        if state.code_envs.contains(&env) {
            continue;
        }
        if must_exist {
            report.error("ERR_CODEENV_MISSING_ENV", "Missing code env", &format!("code env {env} is not on this node"));
        } else {
            report.info("INFO_CODEENV_INSTALLED", "Code env installed", &format!("code env {env} was installed"));
            state.code_envs.insert(env);
        }
    }
    if !report.failed()
        && let Some(bundle) =
            state.project_mut(who, key, Need::Write)?.bundles.iter_mut().find(|bundle| bundle.manifest.bundle_id == id)
    {
        bundle.preloaded = true;
    }
    Ok(Reply::Json(report.value()))
}

/// `POST .../imported/B/actions/activate`: all of it, or, with errors in the report, nothing.
pub(crate) fn activate(asked: &Asked<'_>, who: &Who, key: &str, id: &str) -> Answer {
    let switches = switches(asked.json.object()?)?;
    let mut state = asked.core.state();
    let state = &mut *state;
    let project = state.project(who, key, Need::Write)?;
    let manifest = project.bundle(id)?.manifest.clone();
    let report = check_connections(state, who, project, &manifest);
    if report.failed() {
        return Ok(Reply::Json(report.value()));
    }
    let job = state.number();
    let project = state.project_mut(who, key, Need::Write)?;
    project.standard = manifest.variables.standard.clone();
    project.scenarios = scenarios(project, who, &manifest, &switches);
    project.webapps = webapps(project, who, &manifest, &asked.core.config.webapp_run_as, job);
    project.active = Some(ActiveBundle { id: id.to_owned(), by: who.identity.clone(), on: now_ms() });
    Ok(Reply::Json(report.value()))
}

/// `scenariosActiveOnActivation` of the body.
fn switches(body: &Object) -> Result<BTreeMap<String, bool>, Refusal> {
    let wanted = match body.get("scenariosActiveOnActivation") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(wanted)) => wanted,
        Some(_) => return Err(Refusal::bad("scenariosActiveOnActivation is no object")),
    };
    let switch = |(id, on): (&String, &Value)| Some((id.clone(), on.as_bool()?));
    let switches: Option<BTreeMap<String, bool>> = wanted.iter().map(switch).collect();
    switches.ok_or_else(|| Refusal::bad("scenariosActiveOnActivation holds something else than booleans"))
}

fn container(project: &Project) -> Option<&Value> {
    project.settings.get("bundleContainerSettings")
}

/// What a name of the bundle is called on this node, by the remapping in the project's settings.
fn target(project: &Project, list: &str, source: &str) -> String {
    let entries = container(project).and_then(|container| container["remapping"][list].as_array());
    let entry = entries.into_iter().flatten().find(|entry| entry["source"] == source);
    entry.and_then(|entry| entry["target"].as_str()).unwrap_or(source).to_owned()
}

fn check_connections(state: &State, who: &Who, project: &Project, manifest: &Manifest) -> Report {
    let mut report = Report::default();
    for used in &manifest.connections {
        let name = target(project, "connections", &used.name);
        let Some(found) = state.connections.get(&name) else {
            let text = format!("connection {name} (in the bundle: {}) is not on this node", used.name);
            report.fatal("ERR_BUNDLE_ACTIVATE_MISSING_CONNECTION", "Missing connection", &text);
            continue;
        };
        if found.kind != used.kind {
            let text = format!("connection {name} is {}, the bundle needs {}", found.kind, used.kind);
            report.error("ERR_BUNDLE_ACTIVATE_BAD_CONNECTION_TYPE", "Wrong type of connection", &text);
        } else if !who.admin && found.allowed.as_ref().is_some_and(|allowed| allowed.is_disjoint(&who.groups)) {
            let text = format!("{} may not use connection {name}", who.identity);
            report.error("ERR_BUNDLE_ACTIVATE_BAD_CONNECTION_PERMISSIONS", "No right to use a connection", &text);
        }
    }
    report
}

/// The scenarios after the activation: the bundle's, in the bundle's definition, and those made on this node whose id
/// the bundle does not use. On or off: as asked for, else as it was here, else as the bundle says.
fn scenarios(
    project: &mut Project,
    who: &Who,
    manifest: &Manifest,
    switches: &BTreeMap<String, bool>,
) -> BTreeMap<String, Scenario> {
    let mut before = std::mem::take(&mut project.scenarios);
    let mut after = BTreeMap::new();
    for designed in &manifest.scenarios {
        let id = text(designed, "id").unwrap_or_default().to_owned();
        let known = before.remove(&id);
        let was = known.as_ref().map(|scenario| scenario.definition.get("active") == Some(&json!(true)));
        let active = switches.get(&id).copied().or(was).unwrap_or_else(|| Manifest::active(designed));
        let mut definition = json!({
            "name": id, "type": "step_based", "triggers": [daily()], "reporters": [], "params": {"steps": []},
            "tags": [], "markedAsTest": false,
        });
        let definition = rewrite(&mut definition, designed, project, who, manifest);
        definition.insert("active".into(), json!(active));
        let (armed_as, runs) = known.map_or_else(Default::default, |known| (known.armed_as, known.runs));
        let script = text(designed, "script").unwrap_or_default().to_owned();
        let mut scenario = Scenario { definition: std::mem::take(definition), script, local: false, armed_as, runs };
        scenario.arm();
        after.insert(id, scenario);
    }
    before.retain(|_, scenario| scenario.local);
    after.append(&mut before);
    after
}

/// The web apps after the activation. A backend that runs goes on as the user with whom it was started; one that the
/// node never had is started if the bundle says `autoStartBackend`.
fn webapps(
    project: &mut Project,
    who: &Who,
    manifest: &Manifest,
    run_as_field: &str,
    job: u64,
) -> BTreeMap<String, Webapp> {
    let mut before = std::mem::take(&mut project.webapps);
    let mut after = BTreeMap::new();
    for designed in &manifest.webapps {
        let id = text(designed, "id").unwrap_or_default().to_owned();
        let mut designed = designed.clone();
        // The manifest has one name for the run-as user, the node's field may have another.
        if run_as_field != "runAsUser"
            && let Some(user) = designed.remove("runAsUser")
        {
            designed.insert(run_as_field.to_owned(), user);
        }
        let mut definition = json!({"name": id, "type": "STANDARD", "params": {"autoStartBackend": false}, "tags": []});
        let definition = std::mem::take(rewrite(&mut definition, &designed, project, who, manifest));
        let start = designed.get("autoStartBackend") == Some(&json!(true));
        let backend = match before.remove(&id) {
            Some(known) => known.backend,
            None if start => {
                let run_as = run_as(&definition, run_as_field);
                Some(Backend { alive: true, run_as, job: format!("job-{job:08}-{id}") })
            }
            None => None,
        };
        after.insert(id, Webapp { definition, local: false, backend });
    }
    before.retain(|_, webapp| webapp.local);
    after.append(&mut before);
    after
}

/// A definition as the bundle has it, last edited by whoever activates.
fn rewrite<'a>(
    defaults: &'a mut Value,
    designed: &Object,
    project: &Project,
    who: &Who,
    manifest: &Manifest,
) -> &'a mut Object {
    let creator = manifest.owner.as_deref().unwrap_or(&who.identity);
    let tag = |login: &str| json!({"versionNumber": 0, "lastModifiedBy": {"login": login}, "lastModifiedOn": now_ms()});
    if !defaults.is_object() {
        *defaults = json!({});
    }
    let Value::Object(definition) = defaults else { unreachable!("made an object above") };
    definition.extend(designed.clone());
    definition.insert("projectKey".into(), json!(project.key));
    definition.insert("creationTag".into(), tag(creator));
    definition.insert("versionTag".into(), tag(&who.identity));
    definition
}

fn daily() -> Value {
    json!({
        "id": "daily", "type": "temporal", "name": "Daily", "delay": 5, "active": true,
        "params": {"frequency": "Daily", "hour": 2, "minute": 0},
    })
}

impl Scenario {
    /// Notes as whom the scenario can run from now on, if it is active.
    pub(crate) fn arm(&mut self) {
        if self.definition.get("active") == Some(&json!(true)) {
            self.armed_as.insert(run_as(&self.definition, "runAsUser"));
        }
    }
}

/// A scenario that a client makes on this node.
pub(crate) fn local_scenario(project: &Project, who: &Who, id: &str, given: &Object) -> Scenario {
    let mut definition = given.clone();
    definition.remove("runAsUser");
    definition.insert("id".into(), json!(id));
    definition.insert("projectKey".into(), json!(project.key));
    definition.entry("active").or_insert(json!(false));
    for list in ["triggers", "reporters", "tags"] {
        definition.entry(list).or_insert(json!([]));
    }
    let tag = crate::state::edited(None, &who.identity);
    definition.insert("creationTag".into(), tag.clone());
    definition.insert("versionTag".into(), tag);
    let mut scenario =
        Scenario { definition, script: String::new(), local: true, armed_as: BTreeSet::new(), runs: Vec::new() };
    scenario.arm();
    scenario
}
