//! Step `restore`: the traffic goes back to where it was before this run. What this run deployed and serves nothing goes: it costs, and nothing needs it.

use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde_json::{Value, json};

use super::{
    activate::{PRIOR, Prior, endpoint_before},
    bodies,
    change::{State, state},
    observe,
    session::Session,
    verify::clear,
};
use crate::{
    codes,
    managed::{Flow, check_in, notes, opener::internal, ready},
    target::{Receipt, ServiceReceipt},
};

pub(super) async fn restore(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    let Some(prior) = notes::read::<Prior>(run, PRIOR) else { return Ok(StepOutcome::output(Value::Null)) };
    if prior.traffic.is_empty() {
        // What this run let answer answers no more.
        if let Some(there) = s.endpoint().await?
            && !(bodies::traffic(&there).is_empty() && bodies::has_gate(&there, &prior.gate))
        {
            ready!(endpoint_before(s, run, &prior).await?);
        }
        ready!(clear_own(s, run, &prior).await?);
        return Ok(StepOutcome::output(Value::Null));
    }
    let there = s.deployments().await?;
    let before = |name: &str| there.iter().find(|one| one["name"] == name);
    let gone: Vec<&str> = prior.traffic.keys().map(String::as_str).filter(|name| before(name).is_none()).collect();
    if !gone.is_empty() {
        let message = format!(
            "What was live before does not run any more in Azure: {}. Update to a version that works.",
            gone.join(", ")
        );
        return Err(Failure::new(codes::PLATFORM_RESOURCE_MISSING, message).permanent());
    }
    // What this run, or somebody, changed of them is awaited; whether one that failed takes queries is Azure's to say.
    if prior.traffic.keys().filter_map(|name| before(name)).any(|one| state(one) == State::AtWork) {
        return Ok(StepOutcome::NotYet { check_in: check_in(None) });
    }
    let live = ready!(endpoint_before(s, run, &prior).await?);
    ready!(clear_own(s, run, &prior).await?);
    let environment = |name: &String| Some((name.clone(), before(name)?["properties"]["environmentId"].clone()));
    let environments = prior.traffic.keys().filter_map(environment);
    let service = ServiceReceipt {
        service_id: s.service.service_id.clone(),
        enabled: true,
        versions: observe::versions(&live, &there),
        urls: observe::service_urls(&live),
        facts: [
            ("deployments".to_owned(), json!(bodies::traffic(&live))),
            ("environments".to_owned(), Value::Object(environments.collect())),
        ]
        .into(),
    };
    let receipt = Receipt {
        project_key: s.spec.deployed_project_key.clone(),
        bundle: service.versions.first().map(|one| one.version.clone()),
        service: Some(service),
        ..Receipt::default()
    };
    let output = serde_json::to_value(&receipt).map_err(|error| internal(&error.to_string()).permanent())?;
    Ok(StepOutcome::output(output))
}

/// Deletes the deployments that were not there before this run and get no traffic.
async fn clear_own(s: &Session<'_>, run: &dyn StepContext, prior: &Prior) -> Result<Flow, StepError> {
    let Some(there) = s.endpoint().await? else { return Ok(Flow::Ready(())) };
    let keep: Vec<&str> = prior.deployments.iter().map(String::as_str).collect();
    clear(s, run, Some(&there), &s.deployments().await?, &keep).await
}
