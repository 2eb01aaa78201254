//! Steps, attempts, failures and waits of updates.

use async_graphql::{ComplexObject, ID, SimpleObject};
use deployer::updates::{steps, waiting};

use super::{
    enums::{StepStatus, WaitKind},
    node::all,
};
use crate::scalars::DateTime;

/// Why something failed.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Failure {
    /// A stable code, such as `NODE_UNREACHABLE`. Each has a page in the documentation (docs/errors).
    code: String,
    /// What happened, and what to do.
    message: String,
    /// What was seen; null unless you administer the infrastructure.
    detail: Option<String>,
}

/// What can be said of a failure from its code.
#[ComplexObject]
impl Failure {
    /// The page of the documentation that says what happened and what to do, such as `docs/errors/NODE_UNREACHABLE.md`.
    async fn help(&self) -> String {
        format!("docs/errors/{}.md", self.code)
    }
}

impl From<steps::Trouble> for Failure {
    fn from(trouble: steps::Trouble) -> Self {
        Self { code: trouble.code, message: trouble.message, detail: trouble.detail }
    }
}

impl Failure {
    /// With all that was seen: for administrators of the infrastructure.
    pub(crate) fn for_admins(failure: engine::failure::Failure) -> Self {
        Self { code: failure.code.to_string(), message: failure.message, detail: failure.detail }
    }
}

/// One step of an update.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Step {
    /// From 0; what events and log lines name.
    index: usize,
    /// Unique within the update, such as `push_bundle` or `pre_hooks/1`.
    name: String,
    /// Which of several nodes it works on; null if on none, or on the only one.
    node: Option<String>,
    /// Who does it, such as `push_bundle` or `hook`.
    kind: String,
    /// What the hook is called; null unless it is one and you administer the infrastructure.
    hook_name: Option<String>,
    /// Where it stands.
    status: StepStatus,
    /// When its first attempt began.
    started_at: Option<DateTime>,
    /// When it was over.
    ended_at: Option<DateTime>,
    /// Each try, in order.
    attempts: Vec<Attempt>,
    /// The most attempts that its policy allows.
    max_attempts: u32,
    /// What it warned of.
    warnings: Vec<String>,
}

impl From<steps::Step> for Step {
    fn from(step: steps::Step) -> Self {
        Self {
            index: step.index,
            name: step.name,
            node: step.node,
            kind: step.kind,
            hook_name: step.hook_name,
            status: step.status.into(),
            started_at: step.started_at.map(Into::into),
            ended_at: step.ended_at.map(Into::into),
            attempts: all(step.attempts),
            max_attempts: step.max_attempts,
            warnings: step.warnings,
        }
    }
}

/// One try at a step.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Attempt {
    /// From 1.
    number: u32,
    /// When it began.
    started_at: DateTime,
    /// When it ended.
    ended_at: Option<DateTime>,
    /// Why it failed.
    failure: Option<Failure>,
    /// Another attempt follows from that.
    retried: bool,
    /// Its wait for a slot, kept after it is over.
    slot: Option<SlotWait>,
    /// How many workers vanished in it, and had not come back when the next one took over; also counts how often something broke.
    lapses: u32,
}

impl From<steps::Attempt> for Attempt {
    fn from(attempt: steps::Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at.into(),
            ended_at: attempt.ended_at.map(Into::into),
            failure: attempt.failure.map(Into::into),
            retried: attempt.retried,
            slot: attempt.slot.map(Into::into),
            lapses: attempt.lapses,
        }
    }
}

/// A wait for a slot of a pool.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct SlotWait {
    /// The pool, such as `hooks`.
    pool: String,
    /// When it began; null when a slot was free at once.
    since: Option<DateTime>,
    /// When it was to end, as far as known when it began.
    deadline: Option<DateTime>,
    /// When the slot was granted.
    granted_at: Option<DateTime>,
    /// When the wait was given up.
    timed_out_at: Option<DateTime>,
    /// Who held the slots.
    holders: Holders,
}

impl From<steps::SlotWait> for SlotWait {
    fn from(wait: steps::SlotWait) -> Self {
        Self {
            pool: wait.pool,
            since: wait.since.map(Into::into),
            deadline: wait.deadline.map(Into::into),
            granted_at: wait.granted_at.map(Into::into),
            timed_out_at: wait.timed_out_at.map(Into::into),
            holders: wait.holders.into(),
        }
    }
}

/// Updates that are in the way: those that you may see, and how many more there are.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Holders {
    /// Those that you may see.
    visible: Vec<Holder>,
    /// How many more there are. They are counted, never named.
    hidden: u32,
}

/// An update that is in the way.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Holder {
    /// The update's id.
    update_id: ID,
    /// Its deployment's id.
    deployment_id: ID,
}

impl From<waiting::Holders> for Holders {
    fn from(holders: waiting::Holders) -> Self {
        let holder = |(run, deployment_id): (engine::ids::RunId, String)| Holder {
            update_id: ID(run.to_string()),
            deployment_id: ID(deployment_id),
        };
        Self { visible: holders.visible.into_iter().map(holder).collect(), hidden: holders.hidden }
    }
}

/// What an update waits for right now.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct WaitingOn {
    /// What kind of thing.
    kind: WaitKind,
    /// The pool, for a slot.
    pool: Option<String>,
    /// Its place in the line, from 1.
    position: Option<u32>,
    /// Who is in front: holders of the slots, or the earlier update.
    holders: Holders,
    /// Since when.
    since: Option<DateTime>,
    /// When the wait ends at the latest; for a next attempt or a look at the node, when that is.
    deadline: Option<DateTime>,
}

impl From<waiting::WaitingOn> for WaitingOn {
    fn from(wait: waiting::WaitingOn) -> Self {
        Self {
            kind: wait.kind.into(),
            pool: wait.pool,
            position: wait.position,
            holders: wait.holders.into(),
            since: wait.since.map(Into::into),
            deadline: wait.deadline.map(Into::into),
        }
    }
}
