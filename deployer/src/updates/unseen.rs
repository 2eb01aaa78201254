//! Cancels that no worker is left to see: the worker that held the update is gone, and no other one runs.

use engine::runs::{
    self, Cancel,
    cancels::{self, AT_ONCE, Wish},
    due::Place,
};

use super::ask::ring_next;
use crate::{Deployer, again::again, error::Result};

/// Ends updates that somebody asked to cancel and nobody living holds, behind a place in their line; answers where the next look begins. What is to
/// be put back waits for a worker all the same. The right to cancel was checked when it was asked for.
///
/// # Errors
/// The database's. Each update is a transaction of its own.
pub async fn end_unseen_cancels(deployer: &Deployer, behind: Place) -> Result<Place> {
    let wishes = cancels::unseen(&deployer.db, behind).await?;
    for wish in &wishes {
        again(|| end(deployer, wish)).await?;
    }
    Ok(wishes.get(AT_ONCE - 1).map(|last| last.place).unwrap_or_default())
}

async fn end(deployer: &Deployer, wish: &Wish) -> Result<()> {
    let tx = deployer.db.begin().await?;
    let cancel = runs::cancel(&tx, wish.run, &wish.login).await?;
    tx.commit().await?;
    if cancel == Cancel::Ended {
        tracing::info!(run = %wish.run, by = wish.login, "an update was cancelled whose worker is gone");
        ring_next(deployer, &wish.deployment).await;
    }
    Ok(())
}
