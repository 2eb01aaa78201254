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
    /// A later version's: this one does not know what it is for.
    Unknown,
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
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether it puts a bundle on the node.
    pub fn deploys(self) -> bool {
        matches!(self, Self::Update | Self::Restore | Self::Enable)
    }

    /// What a spec is for. An unknown word is of a later version, and none of these.
    pub fn of(spec: &RunSpec) -> Self {
        match spec.body.get(KEY).and_then(Value::as_str) {
            None | Some("UPDATE") => Self::Update,
            Some("RESTORE") => Self::Restore,
            Some("ENABLE") => Self::Enable,
            Some("DISABLE") => Self::Disable,
            Some("DELETE") => Self::Delete,
            Some(_) => Self::Unknown,
        }
    }

    /// Writes it into a spec.
    pub(crate) fn mark(self, spec: &mut RunSpec) {
        if let Value::Object(body) = &mut spec.body {
            body.insert(KEY.to_owned(), json!(self.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::plan::{OnFailure, Plan};

    use super::*;

    #[test]
    fn a_word_of_a_later_version_is_none_of_ours() {
        let of = |body| {
            let plan = Plan::new(Vec::new(), OnFailure::Leave);
            UpdateType::of(&RunSpec { plan, requester: String::new(), body, inherited: None })
        };
        assert_eq!(of(json!({})), UpdateType::Update);
        assert_eq!(of(json!({ KEY: "DELETE" })), UpdateType::Delete);
        let later = of(json!({ KEY: "MOVE" }));
        assert_eq!((later, later.deploys()), (UpdateType::Unknown, false));
    }
}
