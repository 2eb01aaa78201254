//! Infrastructures: places to deploy to.
//!
//! Whoever has View sees the [`Infrastructure`]'s basics. Settings, rights and hooks are for its Admins alone. The node's administrator key is
//! write-only: it goes into a sealed row and never comes out again, except towards the node.
//!
//! * [`Settings`] and `patch`: what an administrator sets, and what a change names.
//! * `validate`: what settings may be; `documents`: those that a schema describes.
//! * `nodes`: several nodes behind one infrastructure, and what a fleet manages of a node. `fleet`: what a node says of itself.
//! * [`list`], [`get`], [`by_ids`], [`count`]: reading.
//! * [`create`], [`update`], [`set_permissions`], [`delete`]: changing.
//! * [`check`]: reaches the nodes; [`generate_personal_keys`]: a key of one user on all of them.

mod change;
mod check;
pub(crate) mod documents;
mod fleet;
pub(crate) mod nodes;
mod patch;
mod personal_keys;
mod read;
mod settings;
pub(crate) mod validate;

pub use change::{NewInfrastructure, create, delete, set_permissions, update};
pub(crate) use change::{bound as bound_permissions, lock, other_nodes, permission_rows, require_version, touch};
pub use check::{CheckOutcome, CheckedNode, check, to_spec};
pub(crate) use check::{governance_source, node_key};
pub(crate) use fleet::Changing;
pub use fleet::NodeOffer;
pub use nodes::{MOST_NODES, Managed, Node, NodePatch};
pub use patch::{InfrastructurePatch, SettingsPatch};
pub use personal_keys::{NewPersonalKeys, NodeKeyOutcome, PersonalKeys, generate_personal_keys};
pub use read::{Filter, Infrastructure, Permission, SeenNode, by_ids, count, get, list, permissions_by_ids};
pub use settings::{STEP_KINDS, Settings, StepOverride};
pub(crate) use validate::remappings;
