//! Who asks. Every function of this crate takes one, and refuses before it reads.

use std::collections::BTreeSet;

/// The group whose members are global administrators.
pub const ADMINISTRATORS: &str = "administrators";

/// An authenticated user, with the groups that it is in right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The login.
    pub login: String,
    /// What people read.
    pub display_name: String,
    /// Group names.
    pub groups: BTreeSet<String>,
    /// The key that was used, by its id.
    pub key_id: Option<String>,
}

impl Viewer {
    /// A global administrator: every right on everything, and alone allowed to create infrastructures and change pools.
    pub fn is_admin(&self) -> bool {
        self.groups.contains(ADMINISTRATORS)
    }
}
