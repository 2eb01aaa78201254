//! Step `restore`: the traffic goes back to where it was before this run. What this run deployed and serves nothing goes: it costs, and nothing needs it.

use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde_json::{Value, json};

use super::{
    activate::{Deploy, PRIOR, Prior, Split},
    bodies,
    change::{bring, ended},
    observe,
    off::clear,
    session::{Session, find},
};
use crate::{
    codes,
    managed::{Flow, flowing, notes, opener::internal, ready},
    target::{Receipt, ServiceReceipt},
};

pub(super) async fn restore(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    let Some(prior) = notes::read::<Prior>(run, PRIOR) else { return Ok(StepOutcome::output(Value::Null)) };
    if prior.traffic.is_empty() {
        // What this run let answer answers no more.
        if s.endpoint().await?.is_some() {
            ready!(bring(s, run, &Split { traffic: &prior.traffic }).await?);
        }
        ready!(clear_own(s, run, &prior).await?);
        return Ok(StepOutcome::output(Value::Null));
    }
    let there = s.endpoint().await?.unwrap_or_default();
    let gone: Vec<&str> = prior.traffic.keys().map(String::as_str).filter(|id| find(&there, id).is_none()).collect();
    if !gone.is_empty() {
        let message = format!(
            "What was live before does not run any more in Vertex AI: {}. Update to a version that works.",
            gone.join(", ")
        );
        return Err(Failure::new(codes::PLATFORM_RESOURCE_MISSING, message).permanent());
    }
    let live = ready!(bring(s, run, &Split { traffic: &prior.traffic }).await?);
    ready!(clear_own(s, run, &prior).await?);
    let service = ServiceReceipt {
        service_id: s.service.service_id.clone(),
        enabled: true,
        versions: observe::versions(&live),
        urls: observe::service_urls(s),
        facts: [("deployedModels".to_owned(), json!(bodies::traffic(&live)))].into(),
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

/// Undeploys what was not there before this run and gets no traffic, once the platform has ended what this run asked for.
async fn clear_own(s: &Session<'_>, run: &dyn StepContext, prior: &Prior) -> Result<Flow, StepError> {
    // Without images nothing was deployed.
    for one in &s.plan(run).unwrap_or_default() {
        flowing!(ended(s, run, &Deploy { one }).await?);
    }
    let keep: Vec<&str> = prior.deployed.iter().map(String::as_str).collect();
    clear(s, run, &keep).await
}
