//! Which fault when.

use std::time::Duration;

use engine::db::Db;
use tokio::time::Instant;

use super::{
    dice::Dice,
    faults::{Fault, Hand, Log},
    seen,
    settings::{Plan, Settings},
    stage::Stage,
    traffic::Traffic,
};
use crate::{failure::LabError, until::until};

/// Before the first fault.
const WARM: Duration = Duration::from_secs(3);
/// A run whose attempt has lost so many workers is let alone: at three it is given to a human, which is what it should do, and not what is tested here.
const LOST: u32 = 2;
/// How long that may take.
const REST: Duration = Duration::from_secs(30);
/// How long a worker is waited for that holds runs.
const BUSY: Duration = Duration::from_secs(3);

/// Makes faults until the time is over, or all were made.
pub(super) async fn play(
    settings: &Settings,
    stage: &mut Stage,
    traffic: &Traffic,
    log: &mut Log,
) -> Result<(), LabError> {
    let mut dice = Dice::new(settings.seed);
    let mut kinds = Fault::of(settings.size);
    dice.shuffle(&mut kinds);
    let end = Instant::now() + settings.lasts;
    let db = stage.db().await?;
    tokio::time::sleep(WARM).await;
    let mut next = kinds.clone().into_iter();
    while Instant::now() < end {
        let fault = match (next.next(), settings.plan) {
            (Some(fault), _) => fault,
            (None, Plan::Each) => return Ok(()),
            // Workers are what this is about: every second one is killed or paused.
            (None, Plan::Drawn) => match dice.below(6) {
                0 | 1 => Fault::KillWorker,
                2 => Fault::PauseWorker,
                _ => kinds[dice.below(kinds.len())],
            },
        };
        if fault.loses_workers() {
            rested(&db).await?;
        }
        let busy = if fault.wants_busy() { busy(&db).await? } else { None };
        Hand { settings, stage: &mut *stage, traffic, dice: &mut dice, log: &mut *log, busy }.make(fault).await?;
        let pause = match settings.plan {
            // What was killed is to be seen taken over, before the database goes away, too.
            Plan::Each if fault == Fault::KillWorker => settings.times.bound(),
            Plan::Each => dice.within(200..800),
            Plan::Drawn => dice.within(500..4_000),
        };
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// Waits until no attempt under way has lost so many workers that the next one lost is one too many.
async fn rested(db: &Db) -> Result<(), LabError> {
    until("a run that has lost workers to go on", REST, || async {
        seen::most_lost(db).await.ok().filter(|lost| *lost < LOST).map(drop)
    })
    .await
}

/// A worker that holds runs, as soon as there is one; None when nothing is asked for just now.
async fn busy(db: &Db) -> Result<Option<String>, LabError> {
    let found =
        until("a worker that is busy", BUSY, || async { seen::busy(db).await.ok().and_then(|mut busy| busy.pop()) });
    match found.await {
        Ok(name) => Ok(Some(name)),
        Err(LabError::Late { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
