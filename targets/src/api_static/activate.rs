//! Step `activate`: the deployment's generations answer queries, each its share. What answered before is noted first. A switch is one call, and the node answers
//! each query with what was mapped before or with what is mapped after: none is lost.

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;

use super::{
    flight::{Flown, effect_missing, unknown},
    notes::{self, PRIOR, Prior, Share},
    push,
    session::Session,
};
use crate::http::Effect;

/// Shares that are so far apart at most are the same: nodes may keep fewer digits.
const NEAR: f64 = 1e-3;

pub(super) async fn activate(session: &Session<'_>) -> StepResult {
    note_prior(session).await?;
    // Somebody may have cleaned up the node since they were pushed.
    if let Flown::Wait(check_in) = push::ensure_all(session).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let goal = session.place.goal();
    switch(session, &goal).await?;
    Ok(StepOutcome::output(json!({"generations": goal.iter().map(|(name, _)| name).collect::<Vec<_>>()})))
}

/// What the node shows now, of the service's switch and mapping.
pub(super) async fn now(session: &Session<'_>) -> Result<Prior, StepError> {
    let (api, id) = (session.api(), session.id());
    let Some(enabled) = api.service(id).await? else { return Ok(Prior::default()) };
    let mapping = api.generations(id).await?.map_or(Some(Vec::new()), |all| all.mapping());
    Ok(Prior { exists: true, enabled, mapping })
}

/// What answered before this run changed anything. Never replaced by a later attempt.
pub(super) async fn note_prior(session: &Session<'_>) -> Result<(), StepError> {
    if session.run().note(PRIOR).is_none() {
        notes::write(session.run(), PRIOR, &now(session).await?).await?;
    }
    Ok(())
}

/// Looks, switches if it must, looks again.
pub(super) async fn switch(session: &Session<'_>, goal: &[(String, f64)]) -> Result<(), StepError> {
    let (api, id) = (session.api(), session.id());
    // A node that tells nothing of its mapping is told it again: that changes nothing.
    if shows(&now(session).await?, goal) == Some(true) {
        return Ok(());
    }
    let told: Vec<_> = goal.iter().map(|(name, share)| format!("{} ({share})", api.clean(name))).collect();
    session.log(format!("Switching to {}.", told.join(", "))).await;
    if let Err(error) = api.map(id, goal).await {
        let lost = error.effect == Effect::Unknown;
        return match now(session).await {
            Ok(now) if error.effect != Effect::None && shows(&now, goal) == Some(true) => Ok(()),
            Ok(_) => Err(error.into()),
            Err(stop @ (StepError::LeaseLost | StepError::Cancelled)) => Err(stop),
            Err(_) if lost => Err(unknown(error.into())),
            Err(_) => Err(error.into()),
        };
    }
    match shows(&now(session).await?, goal) {
        Some(false) => Err(effect_missing("switching generations").retryable(None)),
        Some(true) | None => Ok(()),
    }
}

/// Whether the node shows the goal; None when it does not tell.
pub(super) fn shows(now: &Prior, goal: &[(String, f64)]) -> Option<bool> {
    if !now.exists || !now.enabled {
        return Some(false);
    }
    let mapping = now.mapping.as_ref()?;
    let same = |(name, share): &(String, f64)| {
        mapping.iter().any(|one| one.generation == *name && one.proba.is_none_or(|there| (there - share).abs() <= NEAR))
    };
    Some(mapping.len() == goal.len() && goal.iter().all(same))
}

/// The mapping of a note, as a switch takes it. Shares that no node told are made equal; then the second is true.
pub(super) fn mapping(shares: &[Share]) -> (Vec<(String, f64)>, bool) {
    let told: Option<Vec<_>> = shares.iter().map(|one| Some((one.generation.clone(), one.proba?))).collect();
    #[expect(clippy::cast_precision_loss, reason = "there are few generations")]
    let equal = || shares.iter().map(|one| (one.generation.clone(), 1.0 / shares.len() as f64)).collect();
    told.map_or_else(|| (equal(), true), |told| (told, false))
}
