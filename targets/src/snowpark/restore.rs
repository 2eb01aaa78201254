//! Step `restore`: what was live before this run is live again.

use engine::failure::{Failure, StepOutcome, StepResult};
use serde_json::Value;

use super::{
    activate::functions,
    enforce::grants,
    follow::{follow, is_followed},
    goal::{Properties, auto_resume},
    notes::{self, Prior},
    session::{Change, LOOK_EVERY, Session},
    turn_off::remove,
    verify,
};
use crate::{
    codes,
    managed::{Flow, patience},
    target::Receipt,
};

/// From the notes of this run.
pub(super) async fn restore(session: &Session<'_>) -> StepResult {
    let prior: Option<Prior> = notes::read(session.run(), notes::PRIOR);
    let changed = session.run().note(notes::CHANGED) == Some(Value::Bool(true));
    let prior = prior.unwrap_or_default();
    let (Some(service), Some(mark)) = (&prior.service, &prior.mark) else {
        // What this run made costs, and nothing needs it.
        return match changed.then(|| remove(session)) {
            Some(removing) => match removing.await? {
                StepOutcome::Done { .. } => Ok(StepOutcome::output(Value::Null)),
                wait => Ok(wait),
            },
            None => Ok(StepOutcome::output(Value::Null)),
        };
    };
    if changed {
        if let Some(outcome) = put_back(session, service, mark).await? {
            return Ok(outcome);
        }
        // A function that is made again has lost its grants.
        let [callers, users] = [&prior.callers, &prior.endpoint_users].map(|names| names.as_deref().map(notes::roles));
        if let Some(check_in) = grants(session, &mark.function, callers.as_deref(), users.as_deref()).await? {
            return Ok(StepOutcome::NotYet { check_in });
        }
    }
    if let Some(check_in) = session.quiet().await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    let receipt: Receipt = verify::receipt(&session.site, session.work.spec, None).await?;
    // It differs from the spec of the update that was undone: that is the point.
    let receipt = Receipt { differences: Vec::new(), ..receipt };
    Ok(verify::done(&receipt))
}

async fn put_back(
    session: &Session<'_>,
    was: &super::site::Service,
    mark: &super::mark::Mark,
) -> Result<Option<StepOutcome>, engine::failure::StepError> {
    let site = &session.site;
    let wait = |check_in| Ok(Some(StepOutcome::NotYet { check_in }));
    let content = format!("restore {}", mark.content);
    let following = is_followed(session, &content);
    let found = match patience::opened(session.run(), following, site.own_service().await).await? {
        Flow::Ready(found) => found,
        Flow::Wait(check_in) => return wait(check_in),
    };
    let Some((service, now)) = found else {
        let message = "The service was deleted meanwhile; there is nothing to put back. Update again.";
        return Err(Failure::new(codes::NODE_NOT_FOUND, message).permanent());
    };
    // A statement of this run whose answer was lost ends first: else it could undo what is put back.
    let goal = &site.goal;
    let shows = |sql: &str| {
        if sql.contains(" FROM SPECIFICATION ") {
            service.spec.spec_text.contains(&goal.specification_hash)
        } else {
            now.content == goal.mark.content
        }
    };
    let awaited = session.awaited(&goal.alter(&site.place, &service), shows, "changing the service").await?;
    if let Some(check_in) = awaited {
        return wait(check_in);
    }
    let path = site.goal.service_path(&site.place);
    // An update may have ended between its specification and its mark. How Snowflake writes a specification is its own: it is put back for that once.
    let other = service.spec != was.spec
        || service.warehouse() != was.warehouse()
        || service.integrations() != was.integrations();
    let is_half = other && session.run().note(notes::PUT_BACK) != Some(Value::Bool(true));
    if now.content != mark.content || is_half {
        session.tell(format!("Changing the service {} back.", site.goal.service)).await;
        let (warehouse, integrations) = (was.warehouse(), was.integrations());
        let properties = Properties {
            min: was.min_instances.unwrap_or(1),
            max: was.max_instances.unwrap_or(1),
            suspend: was.auto_suspend_secs.unwrap_or(0),
            resume: was.auto_resume.unwrap_or(true),
            warehouse: warehouse.as_ref(),
            integrations: &integrations,
            comment: &mark.comment(),
        };
        let all = properties.alter(&path, &was.spec.spec_text, &service);
        if let Change::Wait(check_in) = session.changes(&all, "changing the service back").await? {
            return wait(check_in);
        }
        notes::write(session.run(), notes::PUT_BACK, &true).await?;
        return wait(LOOK_EVERY);
    }
    let resume = was.auto_resume.unwrap_or(true);
    if service.auto_resume.is_some_and(|now| now != resume)
        && let Change::Wait(check_in) = session.change(auto_resume(&path, resume), "changing the service back").await?
    {
        return wait(check_in);
    }
    if was.is_suspended() {
        if !service.is_suspended() {
            session.switch("suspend", "suspending the service again").await?;
            return wait(LOOK_EVERY);
        }
    } else {
        if service.is("SUSPENDED") {
            session.switch("resume", "resuming the service").await?;
            return wait(LOOK_EVERY);
        }
        let image = was.spec.image().unwrap_or_else(|| site.place.image_path(&site.goal.image.name, &mark.tag));
        let instances = was.min_instances.unwrap_or(1);
        if let Change::Wait(check_in) = follow(session, &service, &image, instances, &content).await? {
            return wait(check_in);
        }
    }
    match functions(session, Some(mark)).await? {
        Change::Wait(check_in) => wait(check_in),
        Change::Done => Ok(None),
    }
}
