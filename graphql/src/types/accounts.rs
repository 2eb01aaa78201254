//! Users, groups and keys.

use async_graphql::{ID, InputObject, SimpleObject};
use deployer::{accounts, keys, viewer};

use super::enums::AccountKind;
use crate::scalars::DateTime;

/// You.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Viewer {
    /// The login.
    login: String,
    /// What people read.
    display_name: String,
    /// The groups.
    groups: Vec<String>,
    /// Every right on everything.
    is_admin: bool,
    /// The id of the key that was used.
    key_id: Option<ID>,
}

impl From<viewer::Viewer> for Viewer {
    fn from(viewer: viewer::Viewer) -> Self {
        let is_admin = viewer.is_admin();
        let viewer::Viewer { login, display_name, groups, key_id, origin: _ } = viewer;
        Self { login, display_name, groups: groups.into_iter().collect(), is_admin, key_id: key_id.map(ID) }
    }
}

/// Somebody who may have keys.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct User {
    /// Unique.
    login: String,
    /// What people read.
    display_name: String,
    /// Whose account it is.
    kind: AccountKind,
    /// A disabled user's keys are dead.
    enabled: bool,
    /// The groups.
    groups: Vec<String>,
    /// When it was made.
    created_at: DateTime,
    /// For people; nothing is sent there.
    email: Option<String>,
}

impl From<accounts::users::User> for User {
    fn from(user: accounts::users::User) -> Self {
        let accounts::users::User { login, display_name, kind, enabled, groups, created_at, email } = user;
        let (kind, groups) = (kind.into(), groups.into_iter().collect());
        Self { login, display_name, kind, enabled, groups, created_at: created_at.into(), email }
    }
}

/// Users who have rights together. Members of `administrators` have every right on everything.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Group {
    /// Unique.
    name: String,
    /// What it is for.
    description: String,
    /// When it was made.
    created_at: DateTime,
    /// Whether its members may publish API services.
    may_publish_services: bool,
}

impl From<accounts::groups::Group> for Group {
    fn from(group: accounts::groups::Group) -> Self {
        let accounts::groups::Group { name, description, created_at, may_publish_services } = group;
        Self { name, description, created_at: created_at.into(), may_publish_services }
    }
}

/// An API key, without its secret part.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ApiKey {
    /// `slw_` and 8 characters: the beginning of the key, which names it without giving it away.
    id: ID,
    /// Whom it acts as.
    login: String,
    /// What its maker calls it.
    label: String,
    /// When it was made.
    created_at: DateTime,
    /// When it expires; null never.
    expires_at: Option<DateTime>,
    /// When it was last used, to the minute.
    last_used_at: Option<DateTime>,
    /// When it was revoked.
    revoked_at: Option<DateTime>,
    /// What it is for.
    description: String,
    /// Who made it: a login.
    created_by: String,
}

impl From<keys::Key> for ApiKey {
    fn from(key: keys::Key) -> Self {
        let keys::Key { id, login, label, created_at, expires_at, last_used_at, revoked_at, description, created_by } =
            key;
        Self {
            id: ID(id),
            login,
            label,
            created_at: created_at.into(),
            expires_at: expires_at.map(Into::into),
            last_used_at: last_used_at.map(Into::into),
            revoked_at: revoked_at.map(Into::into),
            description,
            created_by,
        }
    }
}

/// Which users. All conditions hold together.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct UserFilter {
    /// Part of the login or display name, whatever the case.
    text: Option<String>,
    /// Members of this group.
    group: Option<String>,
    /// Of this kind.
    kind: Option<AccountKind>,
}

impl From<UserFilter> for accounts::users::UserFilter {
    fn from(filter: UserFilter) -> Self {
        Self { text: filter.text, group: filter.group, kind: filter.kind.map(Into::into) }
    }
}
