//! What an API process does beside answering: it ends updates whose cancel no worker is left to see.

use std::time::Duration;

use deployer::{Deployer, updates::end_unseen_cancels};
use engine::runs::due::Place;
use tokio_util::sync::CancellationToken;

/// How often it looks: well within the time in which a cancel ends an update whose worker is gone.
const EVERY: Duration = Duration::from_secs(2);
/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks until `shutdown`.
pub(crate) async fn watch(deployer: Deployer, shutdown: CancellationToken) {
    let mut place = Place::default();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        match tokio::time::timeout(PATIENCE, end_unseen_cancels(&deployer, place)).await {
            Ok(Ok(next)) => place = next,
            Ok(Err(error)) => tracing::warn!(error = ?error, "cancels that no worker sees could not be looked for"),
            Err(_) => tracing::warn!("the look for cancels that no worker sees got no answer in time"),
        }
    }
}
