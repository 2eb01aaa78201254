//! Infrastructures: places to deploy to.
//!
//! Whoever has View sees the [`Infrastructure`]'s basics. Settings, rights and hooks are for its Admins alone. The node's administrator key is
//! write-only: it goes into a sealed row and never comes out again, except towards the node.
//!
//! * [`Settings`] and `patch`: what an administrator sets, and what a change names.
//! * `validate`: what settings may be.
//! * [`list`], [`get`], [`by_ids`], [`count`]: reading.
//! * [`create`], [`update`], [`set_permissions`], [`delete`]: changing.
//! * [`check`]: reaches the node.

mod change;
mod check;
mod patch;
mod read;
mod settings;
pub(crate) mod validate;

pub use change::{NewInfrastructure, create, delete, set_permissions, update};
pub(crate) use change::{another_node, lock, require_version, touch};
pub use check::{CheckOutcome, check, to_spec};
pub use patch::{InfrastructurePatch, SettingsPatch};
pub use read::{Filter, Infrastructure, Permission, by_ids, count, get, list, permissions_by_ids};
pub use settings::{STEP_KINDS, Settings, StepOverride};
pub(crate) use validate::remappings;
