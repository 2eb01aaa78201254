//! Step `push_bundle`: every version is on the node as a generation, imported and preloaded. What answers queries does not change.

use std::{collections::BTreeSet, time::Duration};

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;

use super::{
    deliver::{self, Way},
    flight::{self, Doing, Flown, check_in, remaining},
    foreign,
    notes::{self, CLEANED, CREATED, PRELOADED},
    session::Session,
};
use crate::{codes, http::Effect, service::ServiceVersionSpec, service_package};

/// So long after an update brought something to a node, it may still be at work: it waits for other nodes, repeats calls, or puts back.
const QUIET: Duration = Duration::from_secs(6 * 3_600);

pub(super) async fn push(session: &Session<'_>) -> StepResult {
    clean_unused(session).await?;
    match ensure_all(session).await? {
        Flown::Wait(check_in) => Ok(StepOutcome::NotYet { check_in }),
        Flown::Done => {
            let names: Vec<_> = session.place.goal().into_iter().map(|(name, _)| name).collect();
            Ok(StepOutcome::output(json!({"generations": names})))
        }
    }
}

/// Once a run, and before anything is brought: what is active stays, so a restore of this run finds it. The node cleans up all of its services or none, so nothing is
/// cleaned up where another update may be between its push and its end: what it brought, or would put back, is unused until then.
async fn clean_unused(session: &Session<'_>) -> Result<(), StepError> {
    if !session.place.settings.clean_unused_generations || notes::read(session.run(), CLEANED) == Some(true) {
        return Ok(());
    }
    let busy = recently_brought(session).await?;
    notes::write(session.run(), CLEANED, &true).await?;
    if let Some(service) = busy {
        let hours = QUIET.as_secs() / 3_600;
        let service = session.api().clean(&service);
        session
            .log(format!("Unused generations stay on the node for now: an update of service {service} was at work there within the last {hours} hours."))
            .await;
        return Ok(());
    }
    session.api().clean_unused().await?;
    Ok(())
}

/// Another service to which an update brought something a short while ago, by our own record.
async fn recently_brought(session: &Session<'_>) -> Result<Option<String>, StepError> {
    let (api, imports, now) = (session.api(), session.work.imports, session.run().now().await?);
    for (service, _) in api.services().await?.0.into_iter().filter(|(service, _)| service != session.id()) {
        for one in api.generations(&service).await?.unwrap_or_default().items {
            let record = imports.find(api.url(), &service, &one.name).await?;
            if record.is_some_and(|record| remaining(record.at, QUIET, now).is_some()) {
                return Ok(Some(service));
            }
        }
    }
    Ok(None)
}

/// Sees to it that the node has every generation, and that they are ours.
pub(super) async fn ensure_all(session: &Session<'_>) -> Result<Flown, StepError> {
    ensure_service(session).await?;
    let mut way = None;
    for version in &session.place.service.versions {
        match ensure(session, version, &mut way).await {
            Ok(Flown::Done) => {}
            Ok(wait) => return Ok(wait),
            Err(error) => return Err(unless_gone(session, error).await),
        }
    }
    Ok(Flown::Done)
}

/// A service that went while it was filled, as a clean-up of the node takes it, is made again by the next attempt.
async fn unless_gone(session: &Session<'_>, error: StepError) -> StepError {
    match error {
        StepError::Permanent(failure)
            if failure.code == codes::NODE_NOT_FOUND
                && matches!(session.api().service(session.id()).await, Ok(None)) =>
        {
            failure.retryable(None)
        }
        other => other,
    }
}

/// The service is there, and is ours: it is empty, or has a generation that we brought.
async fn ensure_service(session: &Session<'_>) -> Result<(), StepError> {
    let (api, id) = (session.api(), session.id());
    let Some(found) = api.generations(id).await? else {
        session.log(format!("Creating the service {id} on the node.")).await;
        notes::write(session.run(), CREATED, &true).await?;
        if let Err(error) = api.create_service(id).await {
            // The answer may have been lost.
            let there = error.effect != Effect::None && matches!(api.service(id).await, Ok(Some(_)));
            return if there { Ok(()) } else { Err(error.into()) };
        }
        return match api.service(id).await? {
            Some(_) => Ok(()),
            None => Err(flight::effect_missing("creating the service").retryable(None)),
        };
    };
    if notes::read(session.run(), CREATED) == Some(true) {
        return Ok(());
    }
    let foreign = foreign::service(&session.place, session.work.imports, &found).await?;
    foreign.map_or(Ok(()), |failure| Err(failure.permanent()))
}

async fn ensure(
    session: &Session<'_>,
    version: &ServiceVersionSpec,
    way: &mut Option<Way>,
) -> Result<Flown, StepError> {
    let (api, id, imports) = (session.api(), session.id(), session.work.imports);
    let name = service_package::generation(session.place.service, version);
    let listed = api.generations(id).await?.unwrap_or_default().find(&name).is_some();
    let record = imports.find(api.url(), id, &name).await?;
    if let Some(failure) = foreign::generation(&session.place, version, &name, record.as_ref(), listed) {
        return Err(failure.permanent());
    }
    if !listed {
        // An import of an earlier run may still be going on; of this run, the note of its call tells.
        let ours = session.run().note(notes::IMPORT).is_some();
        if let Some(record) = record.filter(|record| !record.confirmed && !ours)
            && let Some(rest) = remaining(record.at, session.settle(), session.run().now().await?)
        {
            return Ok(Flown::Wait(check_in(rest)));
        }
        if let Some(rest) = flight::rest(session, Doing::Import("")).await? {
            return Ok(Flown::Wait(check_in(rest)));
        }
        if let wait @ Flown::Wait(_) = bring(session, version, way).await? {
            return Ok(wait);
        }
        if api.generations(id).await?.unwrap_or_default().find(&name).is_none() {
            return Err(flight::effect_missing("importing the package").retryable(None));
        }
    }
    if name != version.version {
        imports.bind(&version.version, &version.sha256).await?;
    }
    imports.intend(api.url(), id, &name, &version.sha256).await?;
    imports.confirm(api.url(), id, &name, &version.sha256).await?;
    preload(session, &name).await
}

/// To the node's disk, and from there into the node.
async fn bring(session: &Session<'_>, version: &ServiceVersionSpec, way: &mut Option<Way>) -> Result<Flown, StepError> {
    let way = match way {
        Some(way) => way,
        None => way.insert(session.way().await?),
    };
    let place = &session.place;
    let package =
        service_package::prepare(session.work.packages, session.run(), place.service, version, &session.scratch())
            .await?;
    // One that was preloaded, and is gone, is preloaded again.
    notes::write(
        session.run(),
        PRELOADED,
        &preloaded(session).into_iter().filter(|name| *name != package.generation).collect::<Vec<_>>(),
    )
    .await?;
    session.log(format!("Bringing version {} to the node's disk.", version.version)).await;
    let name = deliver::file_name(place.spec, place.service, version);
    let path = way.put(&name, &package, &session.scratch()).await?;
    let (url, id) = (session.api().url(), session.id());
    // Amended, it is another generation; the version's own id means this content all the same.
    session.work.imports.bind(&version.version, &version.sha256).await?;
    session.work.imports.intend(url, id, &package.generation, &version.sha256).await?;
    let flown = flight::perform(session, Doing::Import(&path), &package.generation).await;
    if flown.is_err() && notes::read::<Option<serde_json::Value>>(session.run(), notes::IMPORT).flatten().is_none() {
        // The call ended, and the node does not have it: one that it has later is somebody else's. The verdict on the import is what the step tells.
        match session.work.imports.withdraw(url, id, &package.generation, &version.sha256).await {
            Err(StepError::LeaseLost) => return Err(StepError::LeaseLost),
            Err(error) => {
                tracing::warn!(?error, "the record of an import that the node refused could not be withdrawn")
            }
            Ok(()) => {}
        }
    }
    flown
}

async fn preload(session: &Session<'_>, name: &str) -> Result<Flown, StepError> {
    let mut done = preloaded(session);
    if done.contains(name) {
        return Ok(Flown::Done);
    }
    let flown = flight::perform(session, Doing::Preload, name).await?;
    if flown == Flown::Done {
        // Some nodes don't tell.
        let there = session.api().generations(session.id()).await?.unwrap_or_default();
        if there.find(name).and_then(|found| found.preloaded) == Some(false) {
            return Err(flight::effect_missing("preloading the generation").retryable(None));
        }
        done.insert(name.to_owned());
        notes::write(session.run(), PRELOADED, &done).await?;
    }
    Ok(flown)
}

fn preloaded(session: &Session<'_>) -> BTreeSet<String> {
    notes::read(session.run(), PRELOADED).unwrap_or_default()
}
