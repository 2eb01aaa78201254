//! Step `verify`, `drift` and `restore`: what is there, against what should be.

use engine::failure::{StepOutcome, StepResult};
use serde_json::{Value, json};

use super::{
    api::{Endpoint, Thing},
    moving::{Move, Moved, unknown},
    notes::{self, Prior, Pushed},
    off,
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
    let warnings = receipt.warnings();
    let output = serde_json::to_value(&receipt).map_err(|error| notes::internal(error.to_string()))?;
    Ok(StepOutcome::Done { output, warnings })
}

/// What is otherwise than the receipt says. What was otherwise then is no drift.
pub(super) async fn drift(place: &Place<'_>, receipt: &Receipt) -> Result<Vec<Difference>, AwsError> {
    let then = receipt.service.clone().unwrap_or_default();
    let config = then.facts.get(FACT_CONFIG).and_then(Value::as_str);
    let reading = reading::read(place).await?;
    let replaced = reading.replaced(place);
    let now = reading.receipt(place, config, &then.versions);
    let known = |difference: &Difference| {
        receipt.differences.iter().any(|then| then.what == difference.what && then.found == difference.found)
    };
    let mut differences: Vec<_> = now.differences.into_iter().filter(|difference| !known(difference)).collect();
    differences.extend(replaced.into_iter().map(|version| Difference {
        what: format!("the model of version {version}"),
        found: json!("another, which somebody made"),
        wanted: json!("as it was deployed"),
    }));
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

/// Under this name nothing served before: what this run made costs, and goes. Where an endpoint of an earlier name did and serves no more, it stays.
async fn unmake(session: &Session<'_>, prior: &Prior) -> StepResult {
    let Some(others) = &prior.others else {
        let said = "No endpoint served before this update under this name, so nothing was put back: what it did in the account stands.";
        return Ok(StepOutcome::Done { output: Value::Null, warnings: vec![said.to_owned()] });
    };
    let mut gone = Vec::new();
    for name in others {
        let found = session.account.described::<Endpoint>(Thing::Endpoint, name).await?;
        if !found.is_some_and(|found| found.takes_queries()) {
            gone.push(name.as_str());
        }
    }
    if !gone.is_empty() {
        let said = format!(
            "This update had taken away what served before ({}), so nothing was put back: the endpoint {} stays as it is. Update again.",
            gone.join(", "),
            session.names.endpoint
        );
        return Ok(StepOutcome::Done { output: Value::Null, warnings: vec![said] });
    }
    match off::delete_endpoint(session, &session.names.endpoint).await? {
        Some(check_in) => Ok(StepOutcome::NotYet { check_in }),
        None => Ok(StepOutcome::output(Value::Null)),
    }
}

async fn put_back(session: &Session<'_>) -> StepResult {
    // A move whose answer was lost could overtake ours.
    if let Some(check_in) = session.over(notes::MOVE).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let Some(prior) = notes::read::<Prior>(session.run(), notes::PRIOR) else {
        return Ok(StepOutcome::output(Value::Null));
    };
    let Some(config) = prior.config.clone() else { return unmake(session, &prior).await };
    let to = Move { config: &config, note: notes::RESTORE, rollout: None };
    if let Moved::Wait(check_in) = session.bring(&to).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let reading = reading::read(session).await?;
    outcome(reading.receipt(session, Some(&config), &prior.versions))
}
