//! Step `verify`, `drift` and `restore`: what is there, against what should be.

use engine::failure::{StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    moving::{Move, Moved, unknown},
    notes::{self, Prior, Pushed},
    reading::{self, FACT_CONFIG},
    session::{Place, Session},
};
use crate::{
    aws::AwsError,
    target::{Difference, Receipt},
};

pub(super) async fn verify(session: &Session<'_>) -> StepResult {
    let pushed: Option<Pushed> = notes::read(session.run(), notes::PUSHED);
    let config = pushed.as_ref().map(|pushed| pushed.config.as_str());
    let reading = reading::read(session).await?;
    outcome(reading.receipt(session, config, &session.wanted()))
}

fn outcome(receipt: Receipt) -> StepResult {
    let warning = |difference: &Difference| {
        format!("{} is {}, and should be {}.", difference.what, difference.found, difference.wanted)
    };
    let warnings = receipt.differences.iter().map(warning).collect();
    let output = serde_json::to_value(&receipt).map_err(|error| notes::internal(error.to_string()))?;
    Ok(StepOutcome::Done { output, warnings })
}

/// What is otherwise than the receipt says. What was otherwise then is no drift.
pub(super) async fn drift(place: &Place<'_>, receipt: &Receipt) -> Result<Vec<Difference>, AwsError> {
    let then = receipt.service.clone().unwrap_or_default();
    let config = then.facts.get(FACT_CONFIG).and_then(Value::as_str);
    let now = reading::read(place).await?.receipt(place, config, &then.versions);
    let known = |difference: &Difference| {
        receipt.differences.iter().any(|then| then.what == difference.what && then.found == difference.found)
    };
    let mut differences: Vec<_> = now.differences.into_iter().filter(|difference| !known(difference)).collect();
    // Of a model that was made anew by hand under the same name, the image tells.
    let images = now.service.and_then(|service| service.facts.get("images").cloned());
    let before = then.facts.get("images").cloned();
    if before.is_some() && images != before && differences.is_empty() {
        differences.push(Difference {
            what: "the versions' images".to_owned(),
            found: json!(images),
            wanted: json!(before),
        });
    }
    Ok(differences)
}

/// A restore that fails leaves the endpoint between two configurations: a human must look.
pub(super) async fn restore(session: &Session<'_>) -> StepResult {
    put_back(session).await.map_err(unknown)
}

async fn put_back(session: &Session<'_>) -> StepResult {
    // A move whose answer was lost could overtake ours.
    if let Some(check_in) = session.over(notes::MOVE).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let prior: Option<Prior> = notes::read(session.run(), notes::PRIOR);
    let Some((prior, config)) = prior.and_then(|prior| Some((prior.clone(), prior.config?))) else {
        let said = "No endpoint served before this update, so nothing was put back: what it did in the account stands.";
        return Ok(StepOutcome::Done { output: Value::Null, warnings: vec![said.to_owned()] });
    };
    let to = Move { config: &config, note: notes::RESTORE, rollout: None };
    if let Moved::Wait(check_in) = session.bring(&to).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let reading = reading::read(session).await?;
    outcome(reading.receipt(session, Some(&config), &prior.versions))
}
