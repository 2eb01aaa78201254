//! Reading journals, logs and pools straight from the database: what an observer sees who trusts no API.

use std::time::Duration;

use engine::{
    db::Db,
    ids::RunId,
    journal::{Event, Kind, Status},
    runs::{self, Loaded},
};
use entities::{pool, pool_holder, pool_waiter};
use sea_orm::EntityTrait;

use crate::until::until;

/// A run with its folded journal.
///
/// # Panics
/// When there is none, or its journal does not fold.
pub async fn load(db: &Db, run: RunId) -> Loaded {
    runs::load(db.pool(), run).await.expect("a journal that folds").expect("a run")
}

/// A run's whole journal.
///
/// # Panics
/// When it can't be read.
pub async fn journal(db: &Db, run: RunId) -> Vec<Event> {
    runs::events(db.pool(), run, 0, 1_000_000).await.expect("a journal")
}

/// Waits until a run has ended or is stuck.
///
/// # Panics
/// When it did not in `patience`; with its journal.
pub async fn until_over(db: &Db, run: RunId, patience: Duration) -> Loaded {
    until_run(db, run, "its end", patience, |loaded| {
        let status = loaded.state.status();
        status.is_final() || status == Status::Stuck
    })
    .await
}

/// Waits until a run is as `wanted` says.
///
/// # Panics
/// When it was not in `patience`; with its journal.
pub async fn until_run(
    db: &Db,
    run: RunId,
    what: &str,
    patience: Duration,
    wanted: impl Fn(&Loaded) -> bool,
) -> Loaded {
    let looked = tokio::time::timeout(
        patience,
        until(what, patience * 2, || async {
            let loaded = load(db, run).await;
            wanted(&loaded).then_some(loaded)
        }),
    )
    .await;
    match looked {
        Ok(loaded) => loaded,
        Err(_) => {
            let journal = tell(&journal(db, run).await);
            panic!("waited {} s for {what} of run {run}:\n{journal}", patience.as_secs_f32())
        }
    }
}

/// A journal for people: one line an event.
pub fn tell(events: &[Event]) -> String {
    let line = |event: &Event| {
        let (step, attempt) = (event.step, event.attempt);
        let kind = match &event.kind {
            Kind::Requested { .. } => "Requested".to_owned(),
            kind => format!("{kind:?}"),
        };
        format!("{:>4} {} epoch {} step {step:?} attempt {attempt:?} {kind}", event.seq, event.at, event.epoch)
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A pool's row, its holders and its waiters in order of their tickets.
///
/// # Panics
/// When there is no such pool.
pub async fn pool(db: &Db, name: &str) -> (pool::Model, Vec<pool_holder::Model>, Vec<pool_waiter::Model>) {
    let row = pool::Entity::find_by_id(name).one(db.pool()).await.unwrap().expect("a pool");
    let mut holders = pool_holder::Entity::find().all(db.pool()).await.unwrap();
    let mut waiters = pool_waiter::Entity::find().all(db.pool()).await.unwrap();
    holders.retain(|holder| holder.pool == name);
    holders.sort_by_key(|holder| holder.ticket);
    waiters.retain(|waiter| waiter.pool == name);
    waiters.sort_by_key(|waiter| waiter.ticket);
    (row, holders, waiters)
}
