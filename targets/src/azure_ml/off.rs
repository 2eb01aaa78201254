//! Step `switch_off`: nothing answers and nothing costs any more; the endpoint stays, with its address and keys. Step `delete_project`: all of it goes.

use engine::{
    failure::{Failure, StepError, StepOutcome, StepResult},
    step::StepContext,
};
use serde_json::Value;

use super::{
    API_VERSION,
    activate::{note_prior, silence},
    bodies,
    change::{Resource, State, away, state},
    push::{of_session, repository},
    session::Session,
    verify::clear,
};
use crate::{
    azure::connection::Azure,
    codes,
    managed::{Flow, flowing, image, ready},
};

pub(super) async fn switch_off(s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    note_prior(s, run).await?;
    ready!(stop(s, run).await?);
    Ok(StepOutcome::done())
}

pub(super) async fn remove(azure: &Azure, s: &Session<'_>, run: &dyn StepContext) -> StepResult {
    note_prior(s, run).await?;
    let foreign = s.deployments().await?.into_iter().find(|there| !s.is_ours(there));
    if let Some(name) = foreign.as_ref().map(|there| there["name"].as_str().unwrap_or_default()) {
        let message = format!(
            "Endpoint {} has a deployment {} that Slipway did not make, and that would go with it. Delete that one first.",
            s.endpoint,
            s.arm.clean(name, 100)
        );
        return Err(Failure::new(codes::PLATFORM_NAME_TAKEN, message).permanent());
    }
    ready!(stop(s, run).await?);
    ready!(away(s, run, &Resource::endpoint(s)).await?);
    ready!(environments(azure, s, run).await?);
    Ok(StepOutcome::done())
}

/// No traffic, then no deployments. A deployment with traffic can't be deleted.
async fn stop(s: &Session<'_>, run: &dyn StepContext) -> Result<Flow, StepError> {
    let there = match s.endpoint().await? {
        None => return Ok(Flow::Ready(())),
        // One that Azure failed to make takes no changes, and has nothing to be silenced.
        Some(there) if state(&there) == State::Failed && bodies::traffic(&there).is_empty() => there,
        Some(_) => flowing!(silence(s, run).await?),
    };
    clear(s, run, Some(&there), &s.deployments().await?, &[]).await
}

/// Our images, and what told the workspace how they are run, of all updates.
async fn environments(azure: &Azure, s: &Session<'_>, run: &dyn StepContext) -> Result<Flow, StepError> {
    let path = s.path(&["environments", &s.endpoint, "versions"]);
    let all = s.arm.list(&path, API_VERSION, "listing the environment's versions").await?;
    let foreign = all.iter().any(|there| !s.is_ours(there));
    let of = |there: &Value| there["properties"]["image"].as_str().map(str::to_owned);
    let images = image::to_go(run, all.iter().filter(|there| s.is_ours(there)).filter_map(of).collect()).await?;
    let mut waits = Vec::new();
    for version in all.iter().filter(|there| s.is_ours(there)).filter_map(|there| there["name"].as_str()) {
        if let Flow::Wait(wait) = away(s, run, &Resource::environment(s, version)).await? {
            waits.push(wait);
        }
    }
    if let Some(wait) = waits.into_iter().min() {
        return Ok(Flow::Wait(wait));
    }
    let (url, repository) = (s.connection.registry_url(), repository(s));
    match azure.registry(&s.connection, s.opener).await {
        Ok(registry) => {
            let place = of_session(azure, s, registry.login(), (&url, &repository));
            s.changing.by(place.delete_all(run, &images)).await?;
        }
        Err(error) => image::kept(run, &repository, error).await?,
    }
    // What holds the versions goes with the last of them. It has no marks, but a name that only this deployment has.
    if foreign {
        return Ok(Flow::Ready(()));
    }
    let what = format!("environment {}", s.endpoint);
    let container = s.path(&["environments", &s.endpoint]);
    away(s, run, &Resource { path: container, what, note: "environment".to_owned(), logs: None }).await
}
