//! What a governance source says.

use async_graphql::{Enum, SimpleObject};
use targets::governance;

/// How much weight a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "targets::governance::Severity")]
pub(crate) enum MessageSeverity {
    /// Something is as it should be.
    Success,
    /// To know.
    Info,
    /// To look at before going on.
    Warning,
    /// In the way.
    Error,
}

/// One thing that a governance source says.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct GovernanceMessage {
    /// Its weight.
    severity: MessageSeverity,
    /// The source's code for it; empty if it has none. `GOVERNANCE_UNAVAILABLE` and `GOVERNANCE_SOURCE_INVALID` are ours: the source could not be asked.
    code: String,
    /// In a few words; empty if it has none.
    title: String,
    /// The sentence.
    message: String,
}

impl From<governance::Message> for GovernanceMessage {
    fn from(one: governance::Message) -> Self {
        Self { severity: one.severity.into(), code: one.code, title: one.title, message: one.message }
    }
}
