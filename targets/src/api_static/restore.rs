//! Puts back what answered before this run, from its note.

use engine::failure::{Failure, StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    activate::{mapping, now, switch},
    flight::{effect_missing, unknown},
    notes::{self, PRIOR, Prior},
    session::Session,
    verify,
};
use crate::{codes, target::Work, tools::Tools};

/// A restore that fails leaves the node between two states: a human must look.
pub(super) async fn restore(tools: &Tools, work: &Work<'_>) -> StepResult {
    let restored = async { put_back(&Session::open(tools, work).await?).await };
    restored.await.map_err(unknown)
}

async fn put_back(session: &Session<'_>) -> StepResult {
    let (api, id) = (session.api(), session.id());
    let Some(prior) = notes::read::<Prior>(session.run(), PRIOR) else {
        // The switch had not begun.
        let found = now(session).await?;
        return Ok(StepOutcome::output(json!(verify::receipt(&session.place, &found))));
    };
    let shares = prior.mapping.clone().unwrap_or_default();
    if !prior.exists || shares.is_empty() {
        let said = match prior.mapping {
            None if prior.exists && prior.enabled => {
                "The node did not tell which generations answered before this update, so nothing was put back"
            }
            _ => "Nothing answered before this update, so nothing was put back",
        };
        let said = format!("{said}: what it did on the node stands.");
        return Ok(StepOutcome::Done { output: Value::Null, warnings: vec![said] });
    }
    let mut warnings = Vec::new();
    if prior.enabled {
        let there = api.generations(id).await?.unwrap_or_default();
        let gone: Vec<_> = shares
            .iter()
            .filter(|one| there.find(&one.generation).is_none())
            .map(|one| api.clean(&one.generation))
            .collect();
        if !gone.is_empty() {
            let message = format!("What answered before is not on the node any more: {}.", gone.join(", "));
            return Err(Failure::new(codes::GENERATION_MISSING, message).permanent());
        }
        let (goal, equal) = mapping(&shares);
        switch(session, &goal).await?;
        if equal {
            warnings.push(
                "The node did not tell how often each generation had answered: they answer equally often now."
                    .to_owned(),
            );
        }
    } else if api.service(id).await? == Some(true) {
        api.disable(id).await?;
        if api.service(id).await? == Some(true) {
            return Err(effect_missing("disabling the service").retryable(None));
        }
    }
    let found = now(session).await?;
    let mut receipt = verify::receipt(&session.place, &found);
    // Differences from the update are what a restore is for.
    receipt.differences.clear();
    Ok(StepOutcome::Done { output: json!(receipt), warnings })
}
