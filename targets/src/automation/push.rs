//! Step `push_bundle`: the bundle is on the node, settings and variables are written, everything is preloaded.

use async_trait::async_trait;
use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    container::{self, Container},
    flight::{EffectCall, Flown},
    folders,
    import::ensure_imported,
    notes::{self, Prior},
    permissions,
    session::Session,
    settings,
};
use crate::{http::CallError, report::Report};

pub(super) async fn push(session: &Session<'_>) -> StepResult {
    note_prior(session).await?;
    let mut warnings = match ensure_imported(session).await? {
        Flown::Done(warnings) => warnings,
        Flown::Wait(check_in) => return Ok(StepOutcome::NotYet { check_in }),
    };
    warnings.extend(permissions::propagate(session).await?);
    folders::ensure(session).await?;
    let spec = session.spec();
    settings::write_container(session, &Container::of(spec)).await?;
    if let Some(local) = &spec.local_variables {
        settings::write_local(session, local).await?;
    }
    match session.perform(&Preload { session }).await? {
        Flown::Done(more) => warnings.extend(more),
        Flown::Wait(check_in) => return Ok(StepOutcome::NotYet { check_in }),
    }
    Ok(StepOutcome::Done { output: Value::Null, warnings })
}

/// Notes what was there before this run changed anything, once.
async fn note_prior(session: &Session<'_>) -> Result<(), StepError> {
    if session.run().note(notes::PRIOR).is_some() {
        return Ok(());
    }
    let prior = match session.api.project(session.key()).await? {
        None => Prior { exists: false, bundle: None, remapping: None, container: None, local: None },
        Some(project) => {
            let node_settings = session.api.settings(session.key()).await?;
            let mut variables = session.api.variables(session.key()).await?;
            let local = match variables.remove("local") {
                Some(Value::Object(local)) => Some(local),
                _ => None,
            };
            let remapping = container::connections(&node_settings).cloned();
            let container = Some(container::written(&node_settings));
            Prior { exists: true, bundle: project.active_bundle, remapping, container, local }
        }
    };
    notes::write(session.run(), notes::PRIOR, &prior).await
}

/// Makes ready what an activation needs, code envs above all. The node shows nothing of it.
struct Preload<'a> {
    session: &'a Session<'a>,
}

#[async_trait]
impl EffectCall for Preload<'_> {
    fn note(&self) -> &'static str {
        notes::PRELOAD
    }

    fn purpose(&self) -> Value {
        json!({"bundle": self.session.bundle(), "sha256": self.session.spec().package.sha256})
    }

    async fn look(&self) -> Result<Value, StepError> {
        Ok(Value::Null)
    }

    fn done_since(&self, _: &Value, _: &Value) -> bool {
        false
    }

    fn holds(&self, _: &Value) -> bool {
        true
    }

    async fn call(&self) -> Result<Report, CallError> {
        self.session.api.preload(self.session.key(), self.session.bundle()).await
    }

    fn doing(&self) -> String {
        format!("preloading bundle {}", self.session.bundle())
    }
}
