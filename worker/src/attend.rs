//! Looks at one run: claims it if it is to be had, drives it until it rests, and says what follows.

use std::{panic::AssertUnwindSafe, sync::Arc};

use engine::{
    ids::RunId,
    journal::{Kind, NewEvent, Phase, follow::edge},
    plan::PLAN_VERSION,
    runs::{self, Answer, Loaded, Op, due},
};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{
    held::{Held, Lost},
    process::{Session, Shared},
};

/// Looks at a run. A claim that loses forgets: whoever won goes on.
pub(crate) async fn attend(shared: &Arc<Shared>, run: RunId) {
    let Some(session) = shared.session() else { return };
    if shared.stop.drain.is_cancelled() || session.lease.lost.is_cancelled() {
        return;
    }
    let loaded = match runs::load(shared.deployer.db.pool(), run).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(run.id = %run, error = %error, "a run cannot be read");
            return;
        }
    };
    let Some(held) = claim(shared, &session, loaded).await else {
        shared.metrics.claims_lost.inc();
        return;
    };
    shared.metrics.claims.inc();
    shared.metrics.running.inc();
    let span = tracing::info_span!("run", run.id = %run, deployment.id = held.row.deployment_id);
    shared.held().insert(run, Arc::clone(&held));
    let drive = async {
        // A panic is a bug in one step: the run is given back, and what it waits for is not the whole process.
        let driven = AssertUnwindSafe(session.runner.drive(&held)).catch_unwind().await;
        match driven {
            Ok(Ok(())) => {}
            Ok(Err(Lost)) => give_back(shared, &held, "the worker lost track of it").await,
            Err(_) => {
                tracing::error!(run.id = %run, "a step panicked");
                give_back(shared, &held, "a step panicked").await;
            }
        }
    };
    drive.instrument(span).await;
    shared.rest(&held);
    what_follows(shared, &held).await;
}

async fn claim(shared: &Shared, session: &Session, loaded: Loaded) -> Option<Arc<Held>> {
    let state = &loaded.state;
    if matches!(state.phase, Phase::Ended { .. } | Phase::Stuck) || state.spec.plan.version != PLAN_VERSION {
        return None;
    }
    let lapsed = loaded.row.worker_id.is_some();
    let claimed = vec![NewEvent::run(Kind::Claimed { worker: session.lease.worker, lapsed })];
    let cancel = loaded.row.cancel_requested_by.as_deref().filter(|_| state.cancelled_by.is_none());
    let events = edge(state, state.epoch + 1, claimed, cancel, None);
    Held::claim(loaded, events, session.lease.clone(), shared.writer.clone(), shared.log.clone()).await
}

/// A run that this worker still holds and does not drive would wait for ever: it is given back, from a fresh reading.
async fn give_back(shared: &Shared, held: &Held, reason: &str) {
    if held.lease.lost.is_cancelled() {
        return;
    }
    let Ok(Some(loaded)) = runs::load(shared.deployer.db.pool(), held.run).await else { return };
    if loaded.row.worker_id != Some(held.worker().0) || loaded.row.epoch != held.state().epoch {
        return;
    }
    let events = [NewEvent::run(Kind::LeaseReleased { reason: reason.to_owned() })];
    let Ok(op) = Op::append(held.run, &loaded.state, &events) else { return };
    if let Answer::Accepted { .. } = shared.writer.write(op).await {
        tracing::warn!(run.id = %held.run, reason, "gave a run back");
    }
}

/// The next run of the deployment, the next look at a run that waits, another worker for one that was given back.
async fn what_follows(shared: &Arc<Shared>, held: &Held) {
    let queue = &shared.deployer.queue;
    let (ended, wait_us, released) = {
        let state = held.state();
        let status = state.status();
        let waits = state.rests_us;
        (status.is_final(), waits, matches!(state.phase, Phase::Edge { parked: false } | Phase::In { .. }))
    };
    if ended {
        shared.metrics.count_end(held.state().status());
        tracing::info!(run.id = %held.run, status = %held.state().status(), "ended");
        match due::next_of_deployment(&shared.deployer.db, &held.row.deployment_id).await {
            Ok(Some(next)) => queue.ring(next),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %error, "the deployment's next run is found by the sweep"),
        }
    } else if let Some(wait_us) = wait_us {
        // Only sooner than the sweep; nothing depends on it.
        let (queue, run) = (queue.clone(), held.run);
        tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_micros(wait_us.unsigned_abs())).await;
            queue.ring(run);
        });
    } else if released {
        queue.ring(held.run);
    }
}
