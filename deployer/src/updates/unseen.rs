//! Cancels that no worker is left to see: the worker that held the update is gone, and none has come for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use engine::{
    ids::RunId,
    leases,
    runs::{
        cancels::{self, AT_ONCE, Wish},
        due::Place,
    },
};

use super::ask::ring_next;
use crate::{
    Deployer,
    again::again,
    error::{Error, Result},
};

/// So long a worker may take to come for an update whose cancel this process has found. Then the update ends without one.
const COMES: Duration = Duration::from_secs(2);

/// What one process knows of such cancels, from look to look.
#[derive(Debug, Default)]
pub struct Unseen {
    /// Since when it knows of each.
    since: BTreeMap<RunId, Instant>,
}

impl Unseen {
    /// Ends updates that somebody asked to cancel and nobody living holds. A worker that could look after the node is rung, and given a moment. What
    /// is to be put back waits for one all the same. The right to cancel was checked when it was asked for. Answers how many lapsed workers were ended.
    ///
    /// # Errors
    /// The database's, when it can't be asked at all. An update that can't be ended is logged, and keeps nobody else from it.
    pub async fn look(&mut self, deployer: &Deployer, now: Instant) -> Result<usize> {
        let (mut place, mut lapsed) = (Place::default(), 0);
        let mut known = BTreeMap::new();
        loop {
            let wishes = cancels::unseen(&deployer.db, place).await?;
            if wishes.iter().any(|wish| wish.lapsed) {
                let tx = deployer.db.begin().await?;
                lapsed += leases::end_lapsed(&tx).await?.len();
                tx.commit().await?;
            }
            for wish in &wishes {
                let since = self.since.get(&wish.run).copied();
                known.insert(wish.run, since.unwrap_or(now));
                let unattended = since.is_some_and(|since| now.duration_since(since) >= COMES);
                match again(|| end(deployer, wish, unattended)).await {
                    Ok(true) => ring_next(deployer, &wish.deployment).await,
                    Ok(false) if since.is_none() => deployer.queue.ring(wish.run),
                    Ok(false) => {}
                    Err(error) => say(wish.run, &error),
                }
            }
            match wishes.get(AT_ONCE - 1) {
                Some(last) => place = last.place,
                None => break,
            }
        }
        self.since = known;
        Ok(lapsed)
    }
}

async fn end(deployer: &Deployer, wish: &Wish, unattended: bool) -> Result<bool> {
    let tx = deployer.db.begin().await?;
    let ended = cancels::end_unseen(&tx, wish.run, unattended).await?;
    tx.commit().await?;
    if ended {
        tracing::info!(run = %wish.run, "an update that was to be cancelled, and that no worker held, has ended");
    }
    Ok(ended)
}

fn say(run: RunId, error: &Error) {
    tracing::error!(run = %run, error = ?error, "an update that is to be cancelled, and that no worker holds, cannot be ended");
}
