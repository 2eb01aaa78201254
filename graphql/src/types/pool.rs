//! Pools.

use async_graphql::{ComplexObject, ID, SimpleObject};
use deployer::pools;

use super::node::all;
use crate::{
    error::Result,
    page,
    scalars::{DateTime, Long},
};

/// The limit on how many things of a kind run at once, over all workers. First come, first served.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Pool {
    /// Such as `hooks`.
    name: String,
    /// Slots at once.
    limit: i32,
    /// Slots in use.
    live_holders: Long,
    /// Slots that are written down as in use. `slotsHeld - liveHolders` is 0, but for the moment in which a dead worker's slots are given on.
    slots_held: Long,
    /// Attempts in line.
    waiting: Long,
    /// Slots granted so far.
    grants: Long,
    /// Waits given up so far.
    timeouts: Long,
    #[graphql(skip)]
    holders: Vec<PoolHolder>,
    #[graphql(skip)]
    waiters: Vec<PoolWaiter>,
}

/// Lists of a pool.
#[ComplexObject]
impl Pool {
    /// The slots in use whose deployments you may see, by ticket; the others are in the numbers alone.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn holders(
        &self,
        #[graphql(desc = "How many of the first, 1 to 1000; 50 if not given.")] first: Option<i32>,
    ) -> Result<&[PoolHolder]> {
        head(&self.holders, first)
    }

    /// The attempts in line whose deployments you may see, by position; the others are in the numbers alone.
    #[graphql(complexity = "page::cost(first, child_complexity)")]
    async fn waiters(
        &self,
        #[graphql(desc = "How many of the first, 1 to 1000; 50 if not given.")] first: Option<i32>,
    ) -> Result<&[PoolWaiter]> {
        head(&self.waiters, first)
    }
}

fn head<T>(all: &[T], first: Option<i32>) -> Result<&[T]> {
    let most = usize::try_from(first.unwrap_or(50)).ok().filter(|most| (1..=1_000).contains(most));
    let most =
        most.ok_or_else(|| deployer::error::Error::field("PAGE_INVALID", "first", "Ask for 1 to 1000 items."))?;
    Ok(all.get(..most).unwrap_or(all))
}

/// A slot in use.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PoolHolder {
    /// The update's id.
    update_id: ID,
    /// Its deployment's id.
    deployment_id: ID,
    /// When the slot was granted.
    granted_at: DateTime,
}

/// An attempt in line.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PoolWaiter {
    /// The update's id.
    update_id: ID,
    /// Its deployment's id.
    deployment_id: ID,
    /// Its place, from 1, over all that wait.
    position: Long,
    /// Since when.
    since: DateTime,
    /// When it gives up, as far as known: it moves while a holder's worker is overdue.
    deadline: DateTime,
}

impl From<pools::Pool> for Pool {
    fn from(pool: pools::Pool) -> Self {
        Self {
            name: pool.name,
            limit: pool.limit,
            live_holders: pool.live_holders.into(),
            slots_held: pool.slots_held.into(),
            waiting: pool.waiting.into(),
            grants: pool.grants.into(),
            timeouts: pool.timeouts.into(),
            holders: all(pool.holders),
            waiters: all(pool.waiters),
        }
    }
}

impl From<pools::Holder> for PoolHolder {
    fn from(holder: pools::Holder) -> Self {
        Self {
            update_id: ID(holder.run.to_string()),
            deployment_id: ID(holder.deployment_id),
            granted_at: holder.granted_at.into(),
        }
    }
}

impl From<pools::Waiter> for PoolWaiter {
    fn from(waiter: pools::Waiter) -> Self {
        Self {
            update_id: ID(waiter.run.to_string()),
            deployment_id: ID(waiter.deployment_id),
            position: waiter.position.into(),
            since: waiter.since.into(),
            deadline: waiter.deadline.into(),
        }
    }
}
