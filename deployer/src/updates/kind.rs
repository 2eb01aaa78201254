//! What kinds of update there are. An update's kind stands in its spec, so that it never changes.

use engine::spec::RunSpec;
use serde_json::{Value, json};

/// The key in a spec's body under which the kind stands; without it, it is an ordinary update.
const KEY: &str = "update_type";

/// What an update is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UpdateType {
    /// It makes the deployment so, as it is set.
    #[default]
    Update,
    /// It puts back what was live before.
    Restore,
    /// It makes a disabled deployment so again, with its scenarios as they were.
    Enable,
    /// It switches the project on the node off.
    Disable,
    /// It does on the node what the deployment's deletion asks for.
    Delete,
}

impl UpdateType {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Update => "UPDATE",
            Self::Restore => "RESTORE",
            Self::Enable => "ENABLE",
            Self::Disable => "DISABLE",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it puts a bundle on the node.
    pub fn deploys(self) -> bool {
        matches!(self, Self::Update | Self::Restore | Self::Enable)
    }

    /// What a spec is for. An unknown word is of a later version, and no ordinary update.
    pub(crate) fn of(spec: &RunSpec) -> Self {
        match spec.body.get(KEY).and_then(Value::as_str) {
            None | Some("UPDATE") => Self::Update,
            Some("RESTORE") => Self::Restore,
            Some("ENABLE") => Self::Enable,
            Some("DISABLE") => Self::Disable,
            Some(_) => Self::Delete,
        }
    }

    /// Writes it into a spec.
    pub(crate) fn mark(self, spec: &mut RunSpec) {
        if let Value::Object(body) = &mut spec.body {
            body.insert(KEY.to_owned(), json!(self.as_str()));
        }
    }
}
