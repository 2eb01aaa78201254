//! What a run remembers of the node, as notes in its journal. They outlive attempts, workers, and the run itself where another inherits them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::flight::End;
pub(super) use crate::managed::notes::{read, write};

/// [`Prior`]: what was active before this run changed anything. Written once.
pub const PRIOR: &str = "prior";
/// [`States`]: switches before the activation. Written once; a run after one that ended between activate and verify, or that switched the project off, inherits it.
pub const STATES: &str = "states";
/// How this run made the project, if it did: [`Created`].
pub const CREATED: &str = "created";
/// True once the new project's permissions were written.
pub const PERMISSIONS: &str = "permissions";
/// The intent of creating an empty project.
pub const CREATE: &str = "create";
/// The intent of the import.
pub const IMPORT: &str = "import";
/// The intent of the preload.
pub const PRELOAD: &str = "preload";
/// The intent of the activation.
pub const ACTIVATE: &str = "activate";
/// When the deletion of the project was asked for, by the database's clock.
pub const DELETE: &str = "delete";
/// The intent of the activation of what was there before.
pub const RESTORE: &str = "restore";
/// Web app backends to restart: [`Restart`] by id.
pub const RESTARTS: &str = "restarts";
/// The same during a restore.
pub const RESTORE_RESTARTS: &str = "restore_restarts";

/// The name under which a journal keeps a note of one of several nodes; of the only node, the note's own.
pub fn on(node: Option<&str>, note: &str) -> String {
    node.map_or_else(|| note.to_owned(), |node| format!("{node}/{note}"))
}

/// Whether this is a journal's name of that note, of whichever node.
pub fn is(name: &str, note: &str) -> bool {
    name.rsplit_once('/').map_or(name, |(_, last)| last) == note
}

/// Of the notes of a run that ended after it had begun to activate or to switch off, and before it was verified: what the deployment's next run inherits, even if it is no retry (which
/// inherits all). The switches as they were before, and an activation whose end nobody knows.
pub fn inherited(note: impl Fn(&str) -> Option<Value>) -> Vec<(&'static str, Value)> {
    let open = |intent: &Value| intent.get("end").is_none_or(Value::is_null);
    let states = note(STATES).map(|states| (STATES, states));
    let activation = note(ACTIVATE).filter(open).map(|intent| (ACTIVATE, intent));
    states.into_iter().chain(activation).collect()
}

/// Of the notes of a run that made the project and ended before that project had its permissions: what the deployment's next run inherits, even if it is no retry.
/// Later runs leave permissions alone, so else nobody would write them.
pub fn unfinished_creation(note: impl Fn(&str) -> Option<Value>) -> Option<Value> {
    let created = note(CREATED)?;
    let written = note(PERMISSIONS) == Some(Value::Bool(true));
    // A call that the node did not take made nothing: a project that is there later is somebody else's.
    let taken = |call: &str| note(call).is_some_and(|intent| intent.get("end") != Some(&json!(End::NotTaken)));
    let made = taken(IMPORT) || (created == json!(Created::Empty) && taken(CREATE));
    // The node itself sees to them when it makes the project of a bundle; not if it failed at the bundle.
    let by_node = created == json!(Created::FromBundle)
        && note(IMPORT).is_some_and(|intent| intent.get("end") == Some(&json!(End::Done)));
    (made && !written && !by_node).then_some(created)
}

/// The project before this run changed anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// Whether it was there.
    pub exists: bool,
    /// The active bundle.
    pub bundle: Option<String>,
    /// The node's list of connection remappings, as it was; None when it had none.
    pub remapping: Option<Value>,
    /// What else of the container settings an update may write, as it was; None in a note of an earlier version.
    #[serde(default)]
    pub container: Option<Value>,
    /// The local variables.
    pub local: Option<Map<String, Value>>,
}

/// Scenarios and web apps before the activation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct States {
    /// By id.
    pub scenarios: BTreeMap<String, State>,
    /// By id.
    pub webapps: BTreeMap<String, State>,
}

/// One scenario, or web app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// On, or running.
    pub active: bool,
    /// Its run-as field; None when it has none (null is not none).
    #[serde(default, skip_serializing_if = "Option::is_none", with = "present")]
    pub run_as: Option<Value>,
}

/// How this run made the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Created {
    /// From the bundle, so that the node propagated the permissions.
    FromBundle,
    /// Empty, so that we do.
    Empty,
}

/// A backend to restart because its run-as user changed, or because it ran before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// The node's word on it before.
    pub before: Value,
    /// When the restart was asked for, by the database's clock; None until it was.
    pub asked_at: Option<i64>,
}

/// A value that is there, even if it is null.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(value: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
        value.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
        Value::deserialize(deserializer).map(Some)
    }
}
