//! Hooks.

use async_graphql::{ID, InputObject, SimpleObject};
use deployer::{hooks, updates};

use super::enums::{HookPhase, OnInterrupt};
use crate::scalars::Long;

/// How many enabled hooks there are: what everybody who sees the infrastructure may know of them.
#[derive(Clone, Copy, Debug, Default, SimpleObject)]
pub(crate) struct HookCounts {
    /// Before a deployment.
    pre: usize,
    /// After it.
    post: usize,
}

impl From<hooks::HookCounts> for HookCounts {
    fn from(counts: hooks::HookCounts) -> Self {
        Self { pre: counts.pre as usize, post: counts.post as usize }
    }
}

impl From<updates::view::HookCounts> for HookCounts {
    fn from(counts: updates::view::HookCounts) -> Self {
        Self { pre: counts.pre, post: counts.post }
    }
}

/// A Python function that runs before or after each deployment on an infrastructure. Administrators of the infrastructure alone see hooks.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Hook {
    /// Stable while the hook keeps its name.
    id: ID,
    /// When it runs.
    phase: HookPhase,
    /// Order within the phase, from 1.
    position: i32,
    /// Unique within the phase.
    name: String,
    /// Whether it is a step of new updates.
    enabled: bool,
    /// Python with a function `execute`.
    code: String,
    /// The code env; null is the worker's default.
    code_env: Option<String>,
    /// The OS user; null is the worker's own.
    os_user: Option<String>,
    /// How long one attempt may run, in milliseconds.
    deadline_ms: Long,
    /// What happens to an interrupted attempt.
    on_interrupt: OnInterrupt,
}

impl From<hooks::Hook> for Hook {
    fn from(hook: hooks::Hook) -> Self {
        let hooks::Hook { id, phase, position, name, enabled, code, code_env, os_user, deadline_ms, on_interrupt } =
            hook;
        Self {
            id: ID(id),
            phase: phase.into(),
            position,
            name,
            enabled,
            code,
            code_env,
            os_user,
            deadline_ms: deadline_ms.into(),
            on_interrupt: on_interrupt.into(),
        }
    }
}

/// A hook to set. Its place in the list is its order.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct HookInput {
    /// Unique within the phase. A hook that keeps its name keeps its identity.
    name: String,
    /// Python with a function `execute`, as for Dataiku's deployment hooks.
    code: String,
    /// A code env that some worker publishes; without one, the worker's default.
    code_env: Option<String>,
    /// An OS user that some worker publishes; without one, the worker's own.
    os_user: Option<String>,
    /// How long one attempt may run, in milliseconds; 10 minutes if not given.
    deadline_ms: Option<Long>,
    /// False keeps it without running it; true if not given.
    enabled: Option<bool>,
    /// What happens to an interrupted attempt; RERUN before, FAIL after a deployment if not given.
    on_interrupt: Option<OnInterrupt>,
}

impl From<HookInput> for hooks::HookInput {
    fn from(hook: HookInput) -> Self {
        Self {
            name: hook.name,
            code: hook.code,
            code_env: hook.code_env,
            os_user: hook.os_user,
            deadline_ms: hook.deadline_ms.map(|ms| ms.0),
            enabled: hook.enabled,
            on_interrupt: hook.on_interrupt.map(Into::into),
        }
    }
}
