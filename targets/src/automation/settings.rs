//! Remapping and local variables in the project on the node. Written only where they differ, read back, and every other key stays as it was.

use engine::failure::StepError;
use serde_json::{Map, Value, json};

use super::{flight::effect_missing, goal::read_remapping, session::Session};
use crate::spec::ConnectionRemapping;

/// The node's list of connection remappings, if it has one.
pub(super) fn connections(settings: &Map<String, Value>) -> Option<&Value> {
    settings.get("bundleContainerSettings")?.get("remapping")?.get("connections").filter(|value| !value.is_null())
}

/// The list in a fixed order, to compare.
fn sorted(mut remapping: Vec<ConnectionRemapping>) -> Vec<ConnectionRemapping> {
    remapping.sort();
    remapping
}

/// Writes the remapping, unless the node has it.
pub(super) async fn write_remapping(session: &Session<'_>, wanted: &[ConnectionRemapping]) -> Result<(), StepError> {
    let same = |settings: &Map<String, Value>| {
        let there = connections(settings).map(read_remapping).unwrap_or_default();
        sorted(there) == sorted(wanted.to_vec())
    };
    let mut settings = session.api.settings(session.key()).await?;
    if same(&settings) {
        return Ok(());
    }
    let entries = with_unknown_keys(connections(&settings), wanted);
    put_connections(&mut settings, entries);
    session.api.put_settings(session.key(), settings).await?;
    if same(&session.api.settings(session.key()).await?) {
        Ok(())
    } else {
        Err(effect_missing("writing the connection remapping").retryable(None))
    }
}

/// Puts back a list as it was noted; None was none.
pub(super) async fn put_back_remapping(session: &Session<'_>, prior: Option<&Value>) -> Result<(), StepError> {
    let mut settings = session.api.settings(session.key()).await?;
    let empty = json!([]);
    if connections(&settings).unwrap_or(&empty) == prior.unwrap_or(&empty) {
        return Ok(());
    }
    put_connections(&mut settings, prior.cloned().unwrap_or(empty));
    Ok(session.api.put_settings(session.key(), settings).await?)
}

/// Entries that stay keep whatever else the node keeps in them.
fn with_unknown_keys(there: Option<&Value>, wanted: &[ConnectionRemapping]) -> Value {
    let there = there.and_then(Value::as_array).cloned().unwrap_or_default();
    let entry = |wanted: &ConnectionRemapping| {
        let same = |item: &&Value| item["source"] == wanted.source && item["target"] == wanted.target;
        there.iter().find(same).cloned().unwrap_or_else(|| json!({"source": wanted.source, "target": wanted.target}))
    };
    wanted.iter().map(entry).collect()
}

fn put_connections(settings: &mut Map<String, Value>, list: Value) {
    let mut container = take(settings, "bundleContainerSettings");
    let mut remapping = take(&mut container, "remapping");
    remapping.insert("connections".to_owned(), list);
    container.insert("remapping".to_owned(), remapping.into());
    settings.insert("bundleContainerSettings".to_owned(), container.into());
}

/// The object under `key`; an empty one if there is none.
fn take(parent: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match parent.remove(key) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
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
