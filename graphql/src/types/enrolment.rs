//! One-time tokens of nodes that register themselves.

use async_graphql::{ID, SimpleObject};
use deployer::enrolment;

use crate::scalars::DateTime;

/// A one-time token with which a node registers itself, without its secret part.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct EnrolmentToken {
    /// `slwe_` and 8 characters: the beginning of the token, which names it without giving it away.
    id: ID,
    /// The node that it is for, among several; null is for the only one, or lets the node choose.
    node_name: Option<String>,
    /// When it was made.
    created_at: DateTime,
    /// Who made it: a login. It dies when they may not administer the infrastructure any more.
    created_by: String,
    /// When it expires.
    expires_at: DateTime,
    /// When a node enrolled with it; null if none did.
    used_at: Option<DateTime>,
}

impl From<enrolment::EnrolmentToken> for EnrolmentToken {
    fn from(token: enrolment::EnrolmentToken) -> Self {
        let enrolment::EnrolmentToken { id, node_name, created_at, created_by, expires_at, used_at } = token;
        Self {
            id: ID(id),
            node_name,
            created_at: created_at.into(),
            created_by,
            expires_at: expires_at.into(),
            used_at: used_at.map(Into::into),
        }
    }
}
