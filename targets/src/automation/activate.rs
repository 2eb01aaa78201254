//! Step `activate`: note each scenario's and web app's state, then activate with every scenario off.

use std::collections::BTreeSet;

use async_trait::async_trait;
use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    calls::is_running,
    container::Container,
    flight::{EffectCall, Flight, Flown, unknown},
    notes::{self, State, States},
    session::Session,
};
use crate::{http::CallError, report::Report};

/// A scenario's run-as field.
pub(super) const RUN_AS_USER: &str = "runAsUser";

pub(super) async fn activate(session: &Session<'_>) -> StepResult {
    let result = attempt(session).await;
    let flight = Flight { run: session.run(), note: notes::ACTIVATE, settle: session.settle() };
    // Whatever stopped this attempt: if an activation is out there whose end nobody knows, nobody knows what the node will run.
    let open = flight.intent().is_some_and(|intent| intent.is_open());
    result.map_err(|error| if open { unknown(error) } else { error })
}

async fn attempt(session: &Session<'_>) -> StepResult {
    session.project().await?;
    note_states(session).await?;
    let in_bundle = session.work.contents.scenarios.iter().map(|scenario| scenario.id.as_str());
    let off = every_scenario(session, in_bundle).await?;
    let container = &Container::of(session.spec());
    let call = Activation { session, note: notes::ACTIVATE, bundle: session.bundle(), container, off };
    match session.perform(&call).await? {
        Flown::Done(warnings) => Ok(StepOutcome::Done { output: Value::Null, warnings }),
        Flown::Wait(check_in) => Ok(StepOutcome::NotYet { check_in }),
    }
}

/// Notes the switches as they are before anything turns them off, once.
pub(super) async fn note_states(session: &Session<'_>) -> Result<(), StepError> {
    if session.run().note(notes::STATES).is_some() {
        return Ok(());
    }
    notes::write(session.run(), notes::STATES, &read_states(session).await?).await
}

/// Every scenario's and web app's state, as it is now.
pub(super) async fn read_states(session: &Session<'_>) -> Result<States, CallError> {
    let (api, key) = (&session.api, session.key());
    let mut states = States::default();
    for scenario in api.scenarios(key).await? {
        let run_as = api.scenario(key, &scenario.id).await?.remove(RUN_AS_USER);
        states.scenarios.insert(scenario.id, State { active: scenario.active, run_as });
    }
    for webapp in api.webapps(key).await? {
        let run_as = api.webapp(key, &webapp).await?.remove(&api.webapp_run_as_field);
        let active = is_running(&api.backend_state(key, &webapp).await?);
        states.webapps.insert(webapp, State { active, run_as });
    }
    Ok(states)
}

/// One activation, with every scenario off.
pub(super) struct Activation<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) note: &'static str,
    pub(super) bundle: &'a str,
    /// What the project's settings say when it is called: an activation under another remapping is another one.
    pub(super) container: &'a Container,
    /// The scenarios to switch off.
    pub(super) off: BTreeSet<String>,
}

/// The scenarios that are there, and `more`: neither list need be whole.
pub(super) async fn every_scenario(
    session: &Session<'_>,
    more: impl Iterator<Item = &str>,
) -> Result<BTreeSet<String>, CallError> {
    let there = session.api.scenarios(session.key()).await?;
    Ok(there.into_iter().map(|scenario| scenario.id).chain(more.map(str::to_owned)).collect())
}

#[async_trait]
impl EffectCall for Activation<'_> {
    fn note(&self) -> &'static str {
        self.note
    }

    fn purpose(&self) -> Value {
        json!({"bundle": self.bundle, "remapping": self.container.identity()})
    }

    async fn look(&self) -> Result<Value, StepError> {
        let project = self.session.project().await?;
        let scenarios = self.session.api.scenarios(self.session.key()).await?;
        let any_on = scenarios.iter().any(|scenario| scenario.active);
        Ok(json!({"bundle": project.active_bundle, "state": project.active_state, "anyOn": any_on}))
    }

    fn done_since(&self, before: &Value, now: &Value) -> bool {
        // The same bundle again shows by what else changes: the node's word on the activation, or the switches.
        let switched_off = before["anyOn"] == true && now["anyOn"] == false;
        self.holds(now) && (before["state"] != now["state"] || switched_off)
    }

    fn holds(&self, now: &Value) -> bool {
        now["bundle"] == self.bundle
    }

    async fn call(&self) -> Result<Report, CallError> {
        self.session.api.activate(self.session.key(), self.bundle, &self.off).await
    }

    fn doing(&self) -> String {
        format!("activating bundle {}", self.bundle)
    }

    fn unsettling(&self) -> bool {
        true
    }
}
