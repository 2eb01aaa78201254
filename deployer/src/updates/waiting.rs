//! What an update waits for: live, as the tables say now. What it waited for before stands at its attempts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use engine::{
    db::clock_sql,
    ids::RunId,
    journal::{Phase, State},
    runs::Loaded,
};
use entities::{deployment, pool_holder, pool_waiter, run, worker};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, Query, SelectStatement},
};

use super::steps::{slot_deadline, waits};
use crate::{
    error::Result,
    rights::{self, Access},
    viewer::Viewer,
};

/// What kind of thing an update waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitKind {
    /// A slot of a pool.
    Slot,
    /// Updates of the same deployment that were requested earlier.
    EarlierUpdate,
    /// The time of its next attempt.
    NextAttempt,
    /// The node, which is still busy.
    Node,
    /// A worker that takes it.
    Worker,
}

/// What an update waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingOn {
    /// What kind of thing.
    pub kind: WaitKind,
    /// The pool, for a slot.
    pub pool: Option<String>,
    /// Its place in the line, from 1.
    pub position: Option<u32>,
    /// Who is in front: holders of the slots, or the earlier update.
    pub holders: Holders,
    /// Since when, in µs since the Unix epoch.
    pub since: Option<i64>,
    /// When the wait ends at the latest; for a next attempt or a look at the node, when that is.
    pub deadline: Option<i64>,
}

/// Updates that are in the way: those that the viewer may see, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Each with its deployment.
    pub visible: Vec<(RunId, String)>,
    /// Never named.
    pub hidden: u32,
}

/// Runs that views mention, as far as the viewer may see them: with their deployments.
#[derive(Debug, Default)]
pub(super) struct Mentioned(HashMap<RunId, String>);

impl Mentioned {
    /// One query, however many.
    pub(super) async fn read<C: ConnectionTrait>(db: &C, viewer: &Viewer, runs: BTreeSet<RunId>) -> Result<Self> {
        if runs.is_empty() {
            return Ok(Self::default());
        }
        let visible = Query::select()
            .column(deployment::Column::Id)
            .from(deployment::Entity)
            .cond_where(rights::deployments_where(viewer, Access::See))
            .to_owned();
        let rows: Vec<(i64, String)> = run::Entity::find()
            .select_only()
            .column(run::Column::Id)
            .column(run::Column::DeploymentId)
            .filter(run::Column::Id.is_in(runs.iter().map(|run| run.0)))
            .filter(run::Column::DeploymentId.in_subquery(visible))
            .into_tuple()
            .all(db)
            .await?;
        Ok(Self(rows.into_iter().map(|(run, deployment)| (RunId(run), deployment)).collect()))
    }

    pub(super) fn render(&self, runs: impl Iterator<Item = RunId>) -> Holders {
        let mut holders = Holders::default();
        for run in runs {
            match self.0.get(&run) {
                Some(deployment) => holders.visible.push((run, deployment.clone())),
                None => holders.hidden += 1,
            }
        }
        holders
    }
}

/// The tables of what waits, read once for a whole page.
#[derive(Debug, Default)]
pub(super) struct Live {
    waiters: Vec<pool_waiter::Model>,
    holders: Vec<pool_holder::Model>,
    /// Unfinished runs of the deployments whose newest runs wait for their turn, in order.
    unfinished: BTreeMap<String, Vec<(i64, RunId)>>,
    /// Workers that hold runs by their rows, and were not heard of in time.
    gone: BTreeSet<i64>,
}

impl Live {
    /// At most four queries, however many runs.
    pub(super) async fn read<C: ConnectionTrait>(db: &C, loaded: &[Loaded]) -> Result<Self> {
        let mut live = Self::default();
        let pools: BTreeSet<&str> =
            loaded.iter().filter_map(|run| slot_wait(&run.state)).map(|(_, slot)| slot.pool.as_str()).collect();
        if !pools.is_empty() {
            live.waiters = pool_waiter::Entity::find()
                .filter(pool_waiter::Column::Pool.is_in(pools.iter().copied()))
                .order_by_asc(pool_waiter::Column::Ticket)
                .all(db)
                .await?;
            // A holder whose run moved on, or whose worker is gone, is none, although its row is forgotten only at the pool's next turn.
            let alive = alive(db);
            let valid = Query::select()
                .expr(Expr::val(1))
                .from(run::Entity)
                .and_where(
                    Expr::col((run::Entity, run::Column::Id)).equals((pool_holder::Entity, pool_holder::Column::RunId)),
                )
                .and_where(
                    Expr::col((run::Entity, run::Column::Epoch))
                        .equals((pool_holder::Entity, pool_holder::Column::Epoch)),
                )
                .and_where(
                    Expr::col((run::Entity, run::Column::Step))
                        .equals((pool_holder::Entity, pool_holder::Column::Step)),
                )
                .and_where(
                    Expr::col((run::Entity, run::Column::Attempt))
                        .equals((pool_holder::Entity, pool_holder::Column::Attempt)),
                )
                .and_where(run::Column::EndedAt.is_null())
                .and_where(run::Column::WorkerId.in_subquery(alive))
                .to_owned();
            live.holders = pool_holder::Entity::find()
                .filter(pool_holder::Column::Pool.is_in(pools))
                .filter(Expr::exists(valid))
                .order_by_asc(pool_holder::Column::Ticket)
                .all(db)
                .await?;
        }
        let held: BTreeSet<i64> = loaded.iter().filter_map(|run| run.row.worker_id).collect();
        if !held.is_empty() {
            let alive: Vec<i64> = worker::Entity::find()
                .select_only()
                .column(worker::Column::Id)
                .filter(worker::Column::Id.is_in(held.iter().copied()))
                .filter(worker::Column::Id.in_subquery(alive(db)))
                .into_tuple()
                .all(db)
                .await?;
            live.gone = held.into_iter().filter(|worker| !alive.contains(worker)).collect();
        }
        let queued: BTreeSet<&str> =
            loaded.iter().filter(|run| fresh(&run.state)).map(|run| run.row.deployment_id.as_str()).collect();
        if !queued.is_empty() {
            let rows: Vec<(String, i64, i64)> = run::Entity::find()
                .select_only()
                .column(run::Column::DeploymentId)
                .column(run::Column::RunNo)
                .column(run::Column::Id)
                .filter(run::Column::DeploymentId.is_in(queued))
                .filter(run::Column::EndedAt.is_null())
                .order_by_asc(run::Column::RunNo)
                .into_tuple()
                .all(db)
                .await?;
            for (deployment, number, run) in rows {
                live.unfinished.entry(deployment).or_default().push((number, RunId(run)));
            }
        }
        Ok(live)
    }

    /// The runs that [`Live::waiting_on`] may name.
    pub(super) fn mentions(&self) -> impl Iterator<Item = RunId> {
        let holders = self.holders.iter().map(|holder| RunId(holder.run_id));
        holders.chain(self.unfinished.values().filter_map(|runs| runs.first()).map(|(_, run)| *run))
    }

    /// What this run waits for, if it waits.
    pub(super) fn waiting_on(&self, run: &Loaded, mentioned: &Mentioned) -> Option<WaitingOn> {
        let until = |kind, since, deadline| WaitingOn {
            kind,
            pool: None,
            position: None,
            holders: Holders::default(),
            since,
            deadline,
        };
        match run.state.phase {
            Phase::Ended { .. } | Phase::Stuck => None,
            Phase::Edge { parked: true } => {
                let since = run.state.steps.iter().filter_map(|step| step.attempts.last()?.ended_at).max();
                Some(until(WaitKind::NextAttempt, since, run.row.wake_at))
            }
            Phase::Edge { parked: false } if fresh(&run.state) => {
                let earlier = self.unfinished.get(&run.row.deployment_id).map(Vec::as_slice).unwrap_or_default();
                let before = earlier.iter().filter(|(number, _)| *number < run.row.run_no).count();
                let since = Some(run.state.requested_at);
                if before == 0 {
                    return Some(until(WaitKind::Worker, since, None));
                }
                Some(WaitingOn {
                    position: u32::try_from(before).ok(),
                    holders: mentioned.render(earlier.iter().take(1).map(|(_, run)| *run)),
                    ..until(WaitKind::EarlierUpdate, since, None)
                })
            }
            Phase::Edge { parked: false } => self.unattended(run).then(|| until(WaitKind::Worker, None, None)),
            // Whatever it waited for, somebody must take it over first.
            Phase::In { .. } if self.is_orphan(run) => Some(until(WaitKind::Worker, None, None)),
            Phase::In { .. } => {
                if let Some((step, slot)) = slot_wait(&run.state) {
                    return Some(self.slot(run, step, slot, mentioned));
                }
                let (_, attempt) = run.state.under_way()?;
                if attempt.yielded {
                    return Some(until(WaitKind::Node, Some(attempt.started_at), run.row.wake_at));
                }
                self.unattended(run).then(|| until(WaitKind::Worker, None, None))
            }
        }
    }

    /// Its worker vanished.
    fn is_orphan(&self, run: &Loaded) -> bool {
        run.row.worker_id.is_some_and(|worker| self.gone.contains(&worker))
    }

    /// Nobody is at it.
    fn unattended(&self, run: &Loaded) -> bool {
        run.row.worker_id.is_none() || self.is_orphan(run)
    }

    fn slot(&self, run: &Loaded, step: usize, slot: &engine::journal::SlotState, mentioned: &Mentioned) -> WaitingOn {
        let attempt = run.state.steps.get(step).map_or(0, |step| step.attempts.len());
        let mine = self.waiters.iter().find(|waiter| {
            waiter.run_id == run.row.id
                && usize::try_from(waiter.step) == Ok(step)
                && usize::try_from(waiter.attempt) == Ok(attempt)
        });
        // Before its first turn, or just after its last: as the journal has it.
        let Some(mine) = mine else {
            return WaitingOn {
                kind: WaitKind::Slot,
                pool: Some(slot.pool.clone()),
                position: None,
                holders: mentioned.render(slot.holders.iter().copied()),
                since: slot.since,
                deadline: slot_deadline(slot),
            };
        };
        let line = self.waiters.iter().filter(|waiter| waiter.pool == mine.pool);
        let before = line.filter(|waiter| waiter.ticket < mine.ticket).count();
        let holders = self.holders.iter().filter(|holder| holder.pool == mine.pool).map(|holder| RunId(holder.run_id));
        WaitingOn {
            kind: WaitKind::Slot,
            pool: Some(mine.pool.clone()),
            position: u32::try_from(before + 1).ok(),
            holders: mentioned.render(holders),
            since: Some(mine.since),
            deadline: Some(mine.deadline),
        }
    }
}

/// The ids of workers that hold a lease.
fn alive<C: ConnectionTrait>(db: &C) -> SelectStatement {
    Query::select()
        .column(worker::Column::Id)
        .from(worker::Entity)
        .and_where(worker::Column::EndedAt.is_null())
        .and_where(Expr::col(worker::Column::LeaseUntil).gt(Expr::cust(clock_sql(db.get_database_backend()))))
        .to_owned()
}

/// Nobody has begun.
fn fresh(state: &State) -> bool {
    state.epoch == 0 && matches!(state.phase, Phase::Edge { .. })
}

/// The wait for a slot that goes on now.
fn slot_wait(state: &State) -> Option<(usize, &engine::journal::SlotState)> {
    let (step, attempt) = state.under_way()?;
    attempt.slot.as_ref().filter(|slot| waits(slot)).map(|slot| (step, slot))
}
