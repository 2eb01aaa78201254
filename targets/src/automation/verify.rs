//! Step `verify`: reads back what the node shows. The differences from what is wanted are the receipt.

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    activate::RUN_AS_USER,
    calls::is_running,
    client::Api,
    container::Found,
    goal::{Goal, RunAs},
    notes::{self, States},
    session::Session,
    validate::previews,
    webapps::run_as,
};
use crate::{
    spec::{BundleContents, Remapping},
    target::{ACTIVE_BUNDLE, Difference, Receipt, ReceiptItem},
};

/// So many scenarios, web apps and differences stand in a receipt; all are compared.
pub(super) const MAX_LISTED: usize = 500;
pub(super) async fn verify(session: &Session<'_>) -> StepResult {
    let states: States = notes::read(session.run(), notes::STATES).unwrap_or_default();
    outcome(receipt(session, &Goal::update(session.spec(), states)).await?)
}

/// The receipt as the step's output, its differences as warnings.
pub(super) fn outcome(receipt: Receipt) -> StepResult {
    let warnings = receipt.warnings();
    Ok(StepOutcome::Done { output: json!(receipt), warnings })
}

/// Reads everything back and compares.
pub(super) async fn receipt(session: &Session<'_>, goal: &Goal<'_>) -> Result<Receipt, StepError> {
    receipt_of(&session.api, session.key(), session.work.contents, goal).await
}

/// The same, without a run.
pub(super) async fn receipt_of(
    api: &Api,
    key: &str,
    contents: &BundleContents,
    goal: &Goal<'_>,
) -> Result<Receipt, StepError> {
    let project = api.existing_project(key).await?;
    let in_force = Found::read(&api.settings(key).await?);
    let on_node = api.connections().await?;
    let mut receipt = Receipt {
        project_key: key.to_owned(),
        bundle: project.active_bundle.as_deref().map(|bundle| api.clean(bundle)),
        connections: previews(&on_node, &in_force.connections, contents, api),
        code_envs: shown_list(&in_force.code_envs, api),
        container_execs: shown_list(&in_force.container_execs, api),
        ..Receipt::default()
    };
    let mut differ = |what: String, found: Value, wanted: Value| {
        receipt.differences.push(Difference {
            what: api.clean(&what),
            found: api.clean_value(&found),
            wanted: api.clean_value(&wanted),
        });
    };
    if project.active_bundle.as_deref() != Some(goal.bundle) {
        differ(ACTIVE_BUNDLE.to_owned(), json!(project.active_bundle), json!(goal.bundle));
    }
    goal.container.compare(&in_force, &mut differ);
    if let Some(wanted) = goal.local {
        let variables = api.variables(key).await?;
        // Names only: values may be confidential.
        let there = variables.get("local").and_then(Value::as_object).cloned().unwrap_or_default();
        for name in wanted.keys().filter(|name| there.get(*name) != wanted.get(*name)) {
            let found = if there.contains_key(name) { "another value" } else { "absent" };
            differ(format!("the local variable {name}"), json!(found), json!("as the deployment says"));
        }
        for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
            differ(format!("the local variable {}", api.clean(name)), json!("present"), json!("absent"));
        }
    }

    let mut scenarios = Vec::new();
    for scenario in api.scenarios(key).await? {
        let (id, shown) = (&scenario.id, api.clean(&scenario.id));
        let definition = api.scenario(key, id).await?;
        let wanted = goal.scenario_run_as(id);
        if !wanted.holds(&definition, RUN_AS_USER) {
            differ(
                format!("the run-as user of scenario {shown}"),
                found_run_as(&definition, RUN_AS_USER),
                wanted.told(),
            );
        }
        if goal.scenario_wanted(id).is_some_and(|on| on != scenario.active) {
            differ(format!("scenario {shown}"), on_off(scenario.active), on_off(!scenario.active));
        }
        let run_as = run_as(&definition, RUN_AS_USER).map(|user| api.clean(&user));
        scenarios.push((scenario.id, ReceiptItem { id: shown, run_as, active: scenario.active }));
    }
    for (id, on) in goal.switches.iter().filter(|(id, _)| scenarios.iter().all(|(there, _)| there != **id)) {
        differ(format!("scenario {id}"), json!("not there"), on_off(*on && goal.scenario_on(id)));
    }
    let mut webapps = Vec::new();
    for id in api.webapps(key).await? {
        let (shown, field) = (api.clean(&id), api.webapp_run_as_field.as_str());
        let definition = api.webapp(key, &id).await?;
        let active = is_running(&api.backend_state(key, &id).await?);
        let wanted = goal.webapp_run_as(&id);
        if wanted != RunAs::Any && !wanted.holds(&definition, field) {
            differ(format!("the run-as user of web app {shown}"), found_run_as(&definition, field), wanted.told());
        }
        if goal.webapp_ran(&id) && !active {
            differ(format!("the backend of web app {shown}"), json!("stopped"), json!("running"));
        }
        webapps.push(ReceiptItem {
            id: shown,
            run_as: run_as(&definition, field).map(|user| api.clean(&user)),
            active,
        });
    }
    receipt.scenarios = scenarios.into_iter().map(|(_, item)| item).collect();
    receipt.webapps = webapps;
    shorten(&mut receipt);
    Ok(receipt)
}

/// A list of the node's, made harmless.
fn shown_list(list: &[Remapping], api: &Api) -> Vec<Remapping> {
    list.iter().map(|one| Remapping { source: api.clean(&one.source), target: api.clean(&one.target) }).collect()
}

fn found_run_as(definition: &serde_json::Map<String, Value>, field: &str) -> Value {
    definition.get(field).cloned().unwrap_or_default()
}

fn on_off(on: bool) -> Value {
    json!(if on { "on" } else { "off" })
}

/// A receipt is small, whatever the node holds.
fn shorten(receipt: &mut Receipt) {
    receipt.scenarios.truncate(MAX_LISTED);
    receipt.webapps.truncate(MAX_LISTED);
    receipt.code_envs.truncate(MAX_LISTED);
    receipt.container_execs.truncate(MAX_LISTED);
    receipt.differences.truncate(MAX_LISTED);
}
