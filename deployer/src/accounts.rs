//! People, technical accounts and their groups.
//!
//! Logins, display names and groups are visible to whoever is signed in (rights are given to groups, and owners are named by login); global
//! administrators alone change them. A disabled or deleted user is nobody: its keys answer like unknown ones at once, since every request reads
//! the account anew.
//!
//! * [`users`] and [`groups`]: the operations.
//! * `administrators`: the rule that one enabled administrator stays.
//! * `changes`: the writes themselves, which the command line's operator uses, too.

pub(crate) mod administrators;
pub(crate) mod changes;
pub mod groups;
pub mod users;
