//! Waiting for containers, and the reasons of those that do not come up.

use std::time::Duration;

use engine::{
    failure::{Failure, StepError},
    step::Audience,
};

use super::{
    notes::{self, Waiting},
    session::{Change, LOOK_EVERY, Session},
    site::{Container, Service, Site},
};
use crate::{
    codes,
    managed::{Flow, patience},
};

/// A container that was restarted so often does not come up by itself.
const MOST_RESTARTS: u32 = 5;
/// Of a container's sentence, so many characters are told.
const SAID: usize = 500;
/// Of a container's log, so many characters are kept for administrators.
const LOGGED: usize = 6_000;

/// How a service is.
#[derive(Debug, PartialEq)]
pub(super) enum State {
    /// So many containers as wanted are ready, all of the wanted image.
    Ready,
    /// On its way; with a sentence.
    Starting(String),
    /// It will not come up by itself.
    Failed { reason: String, container: Option<Container> },
}

/// Reads it, for an image with this path.
pub(super) async fn state(site: &Site, service: &Service, image: &str, instances: u32) -> Result<State, StepError> {
    let containers = site.containers().await?;
    let status = service.status.as_deref().unwrap_or_default().to_uppercase();
    let said = |one: &Container| site.api.clean(&one.message, SAID);
    if matches!(status.as_str(), "FAILED" | "INTERNAL_ERROR") || service.is_going() {
        let container = containers.iter().find(|one| !one.message.is_empty()).cloned();
        let words = container.as_ref().map(said).unwrap_or_default();
        let status = site.api.clean(&status, 40);
        return Ok(State::Failed { reason: format!("the service is {status}. {words}"), container });
    }
    for one in containers.iter().filter(|one| is_of(one, image)) {
        let failed = matches!(one.status.to_uppercase().as_str(), "FAILED" | "DONE");
        let ready = one.status.eq_ignore_ascii_case("READY");
        if failed || (one.restart_count >= MOST_RESTARTS && !ready) {
            let status = site.api.clean(&one.status, 40);
            let words = said(one);
            let reason = format!("a container is {status}, after {} restarts. {words}", one.restart_count);
            return Ok(State::Failed { reason, container: Some(one.clone()) });
        }
    }
    let ready = containers.iter().filter(|one| is_of(one, image) && one.status.eq_ignore_ascii_case("READY")).count();
    let others = containers.iter().any(|one| !is_of(one, image));
    let enough = ready >= usize::try_from(instances).unwrap_or(usize::MAX);
    if enough && !others && service.is_upgrading != Some(true) && !service.is_suspended() {
        return Ok(State::Ready);
    }
    let words = containers.iter().filter(|one| !one.status.eq_ignore_ascii_case("READY")).map(said);
    let words = words.into_iter().find(|words| !words.is_empty()).unwrap_or_default();
    Ok(State::Starting(format!("{ready} of {instances} containers are ready. {words}").trim_end().to_owned()))
}

/// Whether it runs this image: Snowflake tells names with the registry's host before the path.
fn is_of(container: &Container, image: &str) -> bool {
    container.image_name.to_ascii_lowercase().ends_with(&image.to_ascii_lowercase())
}

/// Whether this run waits for containers with this content.
pub(super) fn is_followed(session: &Session<'_>, content: &str) -> bool {
    waiting(session, content).is_some()
}

fn waiting(session: &Session<'_>, content: &str) -> Option<Waiting> {
    let run = session.run();
    let ours = |noted: &Waiting| noted.run == Some(run.run()) && noted.content == content;
    notes::read(run, notes::WAITING).filter(ours)
}

/// Waits until the service is ready with this image: [`Change::Wait`] until then; a failure with its reasons if it will not be, or not in time.
pub(super) async fn follow(
    session: &Session<'_>,
    service: &Service,
    image: &str,
    instances: u32,
    content: &str,
) -> Result<Change, StepError> {
    let (run, now) = (session.run(), session.run().now().await?);
    let since = match waiting(session, content) {
        Some(noted) => noted.since,
        None => {
            let waiting = Waiting { run: Some(run.run()), content: content.to_owned(), since: now };
            notes::write(run, notes::WAITING, &waiting).await?;
            now
        }
    };
    let minutes = session.site.place.settings.start_minutes;
    let state = match patience::looked(run, state(&session.site, service, image, instances).await).await? {
        Flow::Ready(state) => state,
        Flow::Wait(check_in) => return Ok(Change::Wait(check_in)),
    };
    match state {
        State::Ready => Ok(Change::Done),
        State::Failed { reason, container } => {
            let message = format!("The service does not come up: {}", reason.trim_end());
            let failure = Failure::new(codes::SNOWPARK_SERVICE_FAILED, message);
            Err(with_log(session, failure, container).await?.permanent())
        }
        State::Starting(words) => {
            let passed = Duration::from_micros(u64::try_from(now.saturating_sub(since)).unwrap_or_default());
            if passed < Duration::from_secs(60 * u64::from(minutes)) {
                return Ok(Change::Wait(LOOK_EVERY));
            }
            let message = format!("The service was not ready within {minutes} minutes: {words}");
            let failure = Failure::new(codes::SNOWPARK_SERVICE_NOT_READY, message);
            let container = session.site.containers().await?.into_iter().find(|one| is_of(one, image));
            Err(with_log(session, failure, container).await?.permanent())
        }
    }
}

/// Adds the end of the container's log, for administrators. A log that can't be read takes no reason away.
async fn with_log(session: &Session<'_>, failure: Failure, container: Option<Container>) -> Result<Failure, StepError> {
    let Some(container) = container else { return Ok(failure) };
    match session.site.log(&container).await {
        Ok(log) if log.trim().is_empty() => Ok(failure),
        Ok(log) => {
            let log = log.trim_end();
            let from = log.char_indices().rev().nth(LOGGED).map_or(0, |(at, _)| at);
            for line in log[from..].lines() {
                let line = session.site.api.clean(line, 1_000);
                session.run().log(Audience::InfrastructureAdmins, format!("container: {line}")).await;
            }
            let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Ok(failure.detail(format!("The container's log ends with: {}", session.site.api.clean(last, SAID))))
        }
        Err(error) => Ok(failure.detail(format!("The container's log could not be read: {}", error.failure.message))),
    }
}
