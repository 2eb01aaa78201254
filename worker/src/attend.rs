//! Looks at one run: claims it if it is to be had, drives it until it rests, and says what follows.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use engine::{
    ids::{RunId, WorkerId},
    journal::{Kind, NewEvent, Phase, follow::edge},
    leases::Lease,
    runs::{Answer, Loaded, Op, RunsError},
};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{
    held::{Held, Lost},
    needs,
    process::{Session, Shared},
};

/// How soon another worker hears of a run that this one cannot go on with.
const ELSEWHERE: Duration = Duration::from_millis(200);

/// Looks at a run. A claim that loses forgets: whoever won goes on.
pub(crate) async fn attend(shared: &Arc<Shared>, run: RunId) {
    // Before the look at the drain: whoever drains waits for all that began before it.
    let _attending = shared.attend(run);
    // One claim at a time: when its answer is lost it is read back, and two claims of one worker look alike.
    let Some(claiming) = shared.begin_claim(run) else { return };
    let Some(session) = shared.session() else { return };
    if shared.stop.drain.is_cancelled() || session.lease.lost.is_cancelled() {
        return;
    }
    let loaded = match shared.store.load(run).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return,
        Err(RunsError::Newer { version }) => {
            tracing::info!(run.id = %run, plan.version = version, "a run is left to newer workers");
            return;
        }
        Err(error) => {
            tracing::error!(run.id = %run, error = %error, "a run cannot be read");
            return;
        }
    };
    let row = &loaded.row;
    if row.ended_at.is_some() || row.worker_id == Some(session.lease.worker.0) {
        return;
    }
    if !session.runner.doer.plan_versions().contains(&loaded.state.spec.plan.version) {
        // Those who know it find it by their sweeps.
        return;
    }
    if !needs::suits(&*shared.store, &*session.runner.doer, &loaded.state).await {
        // Its bell came to the wrong one: soon, another one hears it.
        ring_later(shared, run, ELSEWHERE);
        return;
    }
    let Some(held) = claim(shared, &session, loaded).await else {
        shared.metrics.claims_lost.inc();
        return;
    };
    shared.metrics.claims.inc();
    shared.metrics.running.inc();
    let span = tracing::info_span!("run", run.id = %run, deployment.id = held.row.deployment_id);
    shared.held().insert(run, Arc::clone(&held));
    drop(claiming);
    let drive = async {
        // A panic is a bug in one step: the run is given back, and what it waits for is not the whole process.
        let driven = AssertUnwindSafe(session.runner.drive(&held)).catch_unwind().await;
        match driven {
            Ok(Ok(())) => {}
            Ok(Err(Lost)) => give_back(shared, &session.lease, run, "the worker lost track of it").await,
            Err(_) => {
                tracing::error!(run.id = %run, "a step panicked");
                give_back(shared, &session.lease, run, "a step panicked").await;
            }
        }
    };
    drive.instrument(span).await;
    shared.rest(&held);
    what_follows(shared, &held).await;
}

async fn claim(shared: &Shared, session: &Session, loaded: Loaded) -> Option<Arc<Held>> {
    let state = &loaded.state;
    if matches!(state.phase, Phase::Ended { .. } | Phase::Stuck) {
        return None;
    }
    let lapsed = loaded.row.worker_id.is_some();
    let came_back = match state.under_way() {
        Some((_, attempt)) if lapsed => {
            let lost: Vec<WorkerId> = attempt.lost.iter().copied().chain(state.claimed_by).collect();
            match shared.store.came_back(&lost).await {
                Ok(came_back) => came_back,
                Err(error) => {
                    tracing::warn!(run.id = loaded.row.id, error = %error, "who has come back cannot be read; the run is left to a sweep");
                    return None;
                }
            }
        }
        _ => Vec::new(),
    };
    let claimed = vec![NewEvent::run(Kind::Claimed { worker: session.lease.worker, lapsed, came_back })];
    let cancel = loaded.row.cancel_requested_by.as_deref().filter(|_| state.cancelled_by.is_none());
    let events = match cancel {
        // The runner ends it, with care for what was left midway.
        Some(by) if state.changed_midway() => {
            claimed.into_iter().chain([NewEvent::run(Kind::CancelRequested { by: by.to_owned() })]).collect()
        }
        cancel => edge(state, state.epoch + 1, claimed, cancel, None),
    };
    Held::claim(
        loaded,
        events,
        session.lease.clone(),
        shared.writer.clone(),
        shared.log.clone(),
        shared.metrics.refused.clone(),
    )
    .await
}

/// A run that this worker holds and does not drive would wait for ever: it is given back, from a fresh reading, however long that takes. It
/// rests a moment, and counts as a lost worker, so that what breaks every time ends with a human instead of going round for ever.
pub(crate) async fn give_back(shared: &Shared, lease: &Lease, run: RunId, reason: &str) {
    let mut pause = Duration::from_millis(100);
    while !lease.is_over() {
        match shared.store.load(run).await {
            Ok(Some(loaded)) if loaded.row.worker_id == Some(lease.worker.0) => {
                let events = [NewEvent::run(Kind::LeaseReleased { reason: reason.to_owned(), fault: true })];
                let Ok(op) = Op::append(run, &loaded.state, &events) else { return };
                if let Answer::Accepted { .. } = shared.writer.write(op).await {
                    tracing::warn!(run.id = %run, reason, "gave a run back");
                    return;
                }
            }
            Ok(_) => return,
            Err(error) => tracing::warn!(run.id = %run, error = %error, "a run could not be given back yet"),
        }
        tokio::select! {
            biased;
            () = lease.lost.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// The next run of the deployment, the next look at a run that waits, another worker for one that was given back.
async fn what_follows(shared: &Arc<Shared>, held: &Held) {
    let queue = &shared.queue;
    let (ended, wait_us, released) = {
        let state = held.state();
        let status = state.status();
        let waits = state.rests_us;
        (status.is_final(), waits, matches!(state.phase, Phase::Edge { parked: false } | Phase::In { .. }))
    };
    if ended {
        shared.metrics.count_end(held.state().status());
        tracing::info!(run.id = %held.run, status = %held.state().status(), "ended");
        match shared.store.next_of_deployment(&held.row.deployment_id).await {
            Ok(Some(next)) => queue.ring(next),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %error, "the deployment's next run is found by the sweep"),
        }
    } else if let Some(wait_us) = wait_us {
        shared.metrics.parked.inc();
        ring_later(shared, held.run, Duration::from_micros(wait_us.unsigned_abs()));
    } else if released {
        queue.ring(held.run);
    }
}

/// Only sooner than the sweep; nothing depends on it.
fn ring_later(shared: &Shared, run: RunId, delay: Duration) {
    let queue = shared.queue.clone();
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        queue.ring(run);
    });
}
