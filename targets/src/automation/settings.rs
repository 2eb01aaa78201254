//! Remapping and local variables in the project on the node. Written only where they differ, read back, and every other key stays as it was.

use engine::failure::StepError;
use serde_json::{Map, Value};

use super::{
    container::{self, Container},
    flight::effect_missing,
    notes::Prior,
    session::Session,
};

/// Writes remapping and import of code envs, unless the node has them.
pub(super) async fn write_container(session: &Session<'_>, wanted: &Container) -> Result<(), StepError> {
    let mut settings = session.api.settings(session.key()).await?;
    if wanted.holds(&settings) {
        return Ok(());
    }
    wanted.write(&mut settings);
    session.api.put_settings(session.key(), settings).await?;
    if wanted.holds(&session.api.settings(session.key()).await?) {
        Ok(())
    } else {
        Err(effect_missing("writing the remapping").retryable(None))
    }
}

/// Puts back what was noted.
pub(super) async fn put_back_container(session: &Session<'_>, prior: &Prior) -> Result<(), StepError> {
    let there = session.api.settings(session.key()).await?;
    let mut settings = there.clone();
    container::put_back(&mut settings, session.spec(), prior.remapping.as_ref(), prior.container.as_ref());
    if settings == there {
        return Ok(());
    }
    Ok(session.api.put_settings(session.key(), settings).await?)
}

/// Writes the local variables, unless the node has them. The bundle's own (`standard`) stay.
pub(super) async fn write_local(session: &Session<'_>, wanted: &Map<String, Value>) -> Result<(), StepError> {
    let same = |variables: &Map<String, Value>| match variables.get("local") {
        Some(Value::Object(local)) => local == wanted,
        _ => wanted.is_empty(),
    };
    let mut variables = session.api.variables(session.key()).await?;
    if same(&variables) {
        return Ok(());
    }
    variables.insert("local".to_owned(), Value::Object(wanted.clone()));
    session.api.put_variables(session.key(), variables).await?;
    if same(&session.api.variables(session.key()).await?) {
        Ok(())
    } else {
        Err(effect_missing("writing the local variables").retryable(None))
    }
}
