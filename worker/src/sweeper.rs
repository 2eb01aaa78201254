//! The sweeper: in every worker, it makes good whatever bell was lost, ends workers whose lease lapsed, and sees cancels.

use std::{sync::Arc, time::Duration};

use engine::db::DbErr;
use engine::{ids::WorkerId, leases, runs::due};
use tokio_util::sync::CancellationToken;

use crate::process::Shared;

/// The most runs that one sweep rings.
const MOST: u64 = 1_000;
/// How often what is too old is forgotten.
const FORGET_EVERY_US: i64 = 3_600 * 1_000_000;

/// Sweeps until `over`.
pub(crate) async fn sweep(shared: Arc<Shared>, worker: WorkerId, over: CancellationToken) {
    let period = Duration::from_millis(shared.settings.sweep_ms.max(100));
    let cancels = Duration::from_millis(shared.settings.lease.heartbeat_ms.clamp(100, 1_000));
    let mut last = tokio::time::Instant::now();
    // At once: a process that starts finds what waits.
    let mut first = true;
    loop {
        if first || last.elapsed() >= period {
            if let Err(error) = once(&shared, first).await {
                tracing::warn!(worker.id = %worker, error = %error, "a sweep failed");
            }
            (first, last) = (false, tokio::time::Instant::now());
        }
        see_cancels(&shared).await;
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep(cancels.min(period)) => {}
        }
    }
}

async fn once(shared: &Shared, first: bool) -> Result<(), DbErr> {
    let deployer = &shared.deployer;
    // While Redis is away nobody hears a ring: each worker fills its own seats.
    let alone = deployer.queue.is_degraded();
    let period_us = i64::try_from(shared.settings.sweep_ms * 900).unwrap_or(i64::MAX);
    let tx = deployer.db.begin().await?;
    let mine = due::take_chore(&tx, "sweep", period_us).await? || alone || first;
    let forget = due::take_chore(&tx, "forget", FORGET_EVERY_US).await?;
    if mine {
        let ended = leases::end_lapsed(&tx).await?;
        shared.metrics.lapses_found.inc_by(ended.len() as u64);
    }
    tx.commit().await?;
    if forget && let Err(error) = deployer::updates::idempotency::forget_old(deployer).await {
        tracing::warn!(error = ?error, "old idempotency keys could not be forgotten");
    }
    if !mine || shared.stop.drain.is_cancelled() {
        return Ok(());
    }
    for run in due::due(&deployer.db, MOST).await? {
        shared.metrics.swept.inc();
        if !alone {
            deployer.queue.ring(run);
        } else if !shared.seats.offer(run) {
            break;
        }
    }
    Ok(())
}

/// Tells runs of this worker that somebody asked to cancel them.
pub(crate) async fn see_cancels(shared: &Shared) {
    let Some(session) = shared.session() else { return };
    if shared.held().is_empty() {
        return;
    }
    match due::cancels(&shared.deployer.db, session.lease.worker).await {
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
