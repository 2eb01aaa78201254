//! What an API process does beside answering: it ends updates whose cancel no worker is left to see.

use std::time::{Duration, Instant};

use deployer::{Deployer, updates::Unseen};
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

/// How often it looks: a cancel is to end an update well within five seconds after its worker's lease.
const EVERY: Duration = Duration::from_secs(1);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `shutdown`. `lapses` counts the workers that it found gone.
pub(crate) async fn watch(deployer: Deployer, lapses: Counter, shutdown: CancellationToken) {
    let mut unseen = Unseen::default();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match tokio::time::timeout(PATIENCE, unseen.look(&deployer, Instant::now())).await {
            Ok(Ok(lapsed)) => {
                lapses.inc_by(lapsed as u64);
            }
            Ok(Err(error)) => tracing::warn!(error = ?error, "cancels that no worker sees could not be looked for"),
            Err(_) => tracing::warn!("the look for cancels that no worker sees got no answer in time"),
        }
    }
}
