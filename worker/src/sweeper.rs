//! The sweeper: in every worker, it makes good whatever bell was lost, ends workers whose lease lapsed, and sees cancels.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use engine::db::DbErr;
use engine::{ids::RunId, leases::Lease, runs::due::Place};

use crate::{attend, process::Shared};

/// A sweep rings until so many bells wait, and no more: those wake as many workers as there can be.
const MOST: usize = 1_000;
/// How long one sweep may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often what is too old is forgotten.
const FORGET_EVERY_US: i64 = 3_600 * 1_000_000;

/// Sweeps for as long as the lease holds.
pub(crate) async fn sweep(shared: Arc<Shared>, lease: Lease) {
    let worker = lease.worker;
    let mut undriven = BTreeSet::new();
    // How far the sweeps have gone through the line of unfinished runs.
    let mut place = Place::default();
    let period = Duration::from_millis(shared.settings.sweep_ms.max(100));
    let cancels = Duration::from_millis(shared.settings.lease.heartbeat_ms.clamp(100, 1_000));
    let mut last = tokio::time::Instant::now();
    // At once: a process that starts finds what waits.
    let mut first = true;
    loop {
        if first || last.elapsed() >= period {
            let swept = tokio::time::timeout(PATIENCE, once(&shared, first, &mut place)).await;
            if let Ok(Err(error)) = swept {
                tracing::warn!(worker.id = %worker, error = %error, "a sweep failed");
            } else if swept.is_err() {
                tracing::warn!(worker.id = %worker, "a sweep got no answer in time");
            }
            undriven = find_undriven(&shared, &lease, undriven).await;
            (first, last) = (false, tokio::time::Instant::now());
        }
        see_cancels(&shared).await;
        tokio::select! {
            biased;
            () = lease.lost.cancelled() => return,
            () = tokio::time::sleep(cancels.min(period)) => {}
        }
    }
}

/// Runs that this worker holds by the database, and drives nowhere: on the second look in a row they are given back. Nothing should leave one;
/// nothing else would find it.
async fn find_undriven(shared: &Arc<Shared>, lease: &Lease, before: BTreeSet<RunId>) -> BTreeSet<RunId> {
    let found = match shared.store.held_by(lease.worker).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(error = %error, "this worker's runs could not be read");
            return before;
        }
    };
    let undriven: BTreeSet<RunId> = {
        let attending = shared.attending();
        found.into_iter().filter(|run| !attending.contains(run)).collect()
    };
    for run in undriven.intersection(&before) {
        attend::give_back(shared, lease, *run, "nobody drove it").await;
    }
    undriven
}

async fn once(shared: &Shared, first: bool, place: &mut Place) -> Result<(), DbErr> {
    // While Redis is away nobody hears a ring: each worker fills its own seats.
    let alone = shared.queue.is_degraded();
    let period_us = i64::try_from(shared.settings.sweep_ms * 900).unwrap_or(i64::MAX);
    let swept = shared.store.sweep(alone || first, period_us, FORGET_EVERY_US).await?;
    shared.metrics.lapses_found.inc_by(swept.ended.len() as u64);
    if swept.forget {
        // It may take long; nobody waits for it.
        let doer = Arc::clone(&shared.doer);
        tokio::spawn(async move { doer.forget_old().await });
    }
    if swept.mine && shared.doer.tends() && !shared.stop.drain.is_cancelled() {
        // It asks nodes; nobody waits for it.
        let (doer, metrics) = (Arc::clone(&shared.doer), shared.metrics.clone());
        tokio::spawn(async move { metrics.count_drift(doer.tend().await) });
    }
    if !swept.mine || shared.stop.drain.is_cancelled() {
        return Ok(());
    }
    shared.metrics.sweeps.inc();
    // Those that were found before still have their bells, unless bells were lost: then fewer wait than there are runs.
    let waiting = if alone { 0 } else { shared.queue.waiting() };
    if waiting >= MOST {
        return Ok(());
    }
    let look = shared.store.look(*place, MOST as u64).await?;
    let room = MOST - waiting;
    let found = look.runs.len();
    // In a line that one look sees the end of, those that were found before still have their bells, unless bells were lost: then fewer wait than
    // there are runs. A longer one is gone through from look to look: whose bell was lost must not wait until all others have gone.
    let lacking = if look.to.is_some() { found.min(room) } else { found.saturating_sub(waiting) };
    let line = look.runs.iter().take(lacking).map(|(run, at)| (*run, Some(*at)));
    for (run, at) in look.orphans.iter().map(|run| (*run, None)).chain(line) {
        if !alone {
            shared.queue.ring(run);
        } else if !shared.seats.offer(run) {
            return Ok(());
        }
        shared.metrics.swept.inc();
        *place = at.unwrap_or(*place);
    }
    // The next sweep goes on behind what this one rang: runs at the head that nobody can take don't keep others from being found.
    if lacking == found {
        *place = look.to.unwrap_or_default();
    }
    Ok(())
}

/// Tells runs of this worker that somebody asked to cancel them.
pub(crate) async fn see_cancels(shared: &Shared) {
    let Some(session) = shared.session() else { return };
    if shared.held().is_empty() {
        return;
    }
    match shared.store.cancels(session.lease.worker).await {
        Ok(cancels) => {
            let held = shared.held();
            for (run, login) in cancels {
                if let Some(held) = held.get(&run) {
                    held.ask_to_cancel(&login);
                }
            }
        }
        Err(error) => tracing::warn!(error = %error, "cancels could not be read"),
    }
}
