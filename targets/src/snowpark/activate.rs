//! Step `activate`: the service runs the new image, and the function calls it.

use engine::{
    failure::{StepError, StepOutcome, StepResult},
    ids::RunId,
};
use serde_json::{Value, json};

use super::{
    follow::{State, follow, is_followed, state},
    function::Function,
    goal::auto_resume,
    mark::Mark,
    notes::{self, Prior},
    session::{Change, LOOK_EVERY, Session},
    site::{Service, Site},
};
use crate::{
    codes,
    managed::{patience, ready},
    snowflake::ident::Ident,
};

/// Looks, makes or changes the service, waits for it, then sees to the function.
pub(super) async fn activate(session: &Session<'_>) -> StepResult {
    note_prior(session).await?;
    let (site, goal) = (&session.site, &session.site.goal);
    let following = is_followed(session, &goal.mark.content);
    let found = ready!(patience::opened(session.run(), following, site.own_service().await).await?);
    let Some((service, mark)) = found else {
        session.tell(format!("Making the service {} with image {}.", goal.service, goal.image.path)).await;
        notes::write(session.run(), notes::ALTERED, &session.run().run()).await?;
        // Made by us or by a call of ours that was lost: the next look tells.
        session.create_service().await?;
        return Ok(StepOutcome::NotYet { check_in: LOOK_EVERY });
    };
    if service.is_going() {
        return Ok(StepOutcome::NotYet { check_in: LOOK_EVERY });
    }
    // How Snowflake tells what is live is its own: what does not look as the mark says is set right once a run.
    let mended = session.run().note(notes::MENDED) == Some(Value::Bool(true));
    let is_half = mark.content == goal.mark.content && !mended && goal.is_half(&site.place, &service);
    if mark.content != goal.mark.content || is_half {
        session.tell(format!("Changing the service {} to image {}.", goal.service, goal.image.path)).await;
        notes::write(session.run(), notes::ALTERED, &session.run().run()).await?;
        let waited = session.changes(&goal.alter(&site.place, &service), "changing the service").await?;
        if is_half && waited == Change::Done {
            notes::write(session.run(), notes::MENDED, &true).await?;
        }
        return Ok(StepOutcome::NotYet {
            check_in: if let Change::Wait(check_in) = waited { check_in } else { LOOK_EVERY },
        });
    }
    let waited = session.finish(&goal.alter(&site.place, &service), "changing the service").await?;
    if let Change::Wait(check_in) = waited {
        return Ok(StepOutcome::NotYet { check_in });
    }
    if restarts(session, &service, following).await? {
        return Ok(StepOutcome::NotYet { check_in: LOOK_EVERY });
    }
    // A deployment that was disabled let no query wake it up.
    if service.auto_resume == Some(false) {
        let sql = auto_resume(&goal.service_path(&site.place), true);
        if let Change::Wait(check_in) = session.change(sql, "letting queries wake the service up").await? {
            return Ok(StepOutcome::NotYet { check_in });
        }
    }
    if service.is("SUSPENDED") {
        session.switch("resume", "resuming the service").await?;
        return Ok(StepOutcome::NotYet { check_in: LOOK_EVERY });
    }
    let waited = follow(session, &service, &goal.image.path, goal.min_instances, &goal.mark.content).await?;
    if let Change::Wait(check_in) = waited {
        return Ok(StepOutcome::NotYet { check_in });
    }
    if let Change::Wait(check_in) = functions(session, Some(&goal.mark)).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    if let Some(check_in) = session.quiet().await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    Ok(StepOutcome::output(json!({
        "service": goal.service.as_str(),
        "function": goal.function.signature(site.within()),
        "image": goal.image.path,
    })))
}

/// Where an earlier update left the service failed and there is nothing to change, it is suspended once, to be resumed: what was mended outside is tried.
async fn restarts(session: &Session<'_>, service: &Service, following: bool) -> Result<bool, StepError> {
    let (run, goal) = (session.run(), &session.site.goal);
    let altered = notes::read(run, notes::ALTERED) == Some(run.run());
    let noted = notes::read::<(RunId, bool)>(run, notes::RESTARTED).filter(|(of, _)| *of == run.run());
    if service.is_suspended() {
        if noted.is_some_and(|(_, rests)| !rests) {
            notes::write(run, notes::RESTARTED, &(run.run(), true)).await?;
        }
        return Ok(false);
    }
    if altered || following || noted.is_some_and(|(_, rests)| rests) {
        return Ok(false);
    }
    let State::Failed { .. } = state(&session.site, service, &goal.image.path, goal.min_instances).await? else {
        return Ok(false);
    };
    if noted.is_none() {
        session.tell(format!("The service {} had failed before: restarting it.", goal.service)).await;
        notes::write(run, notes::RESTARTED, &(run.run(), false)).await?;
    }
    session.switch("suspend", "suspending the service").await?;
    Ok(true)
}

/// Once a run: what there was before.
pub(super) async fn note_prior(session: &Session<'_>) -> Result<(), StepError> {
    if session.run().note(notes::PRIOR).is_some() {
        return Ok(());
    }
    let site = &session.site;
    let prior = match site.own_service().await? {
        Some((service, mark)) => Prior {
            callers: match site.callers(&mark.function).await {
                Ok(callers) => Some(notes::names(&callers)),
                // Somebody dropped the function.
                Err(error) if error.is(&codes::NODE_NOT_FOUND) => None,
                Err(error) => return Err(error.into()),
            },
            endpoint_users: if site.place.settings.public_endpoint {
                Some(notes::names(&site.endpoint_users().await?))
            } else {
                None
            },
            service: Some(service),
            mark: Some(mark),
        },
        None => Prior::default(),
    };
    notes::write(session.run(), notes::PRIOR, &prior).await
}

/// The deployment's functions are this one alone; with None, there are none.
pub(super) async fn functions(session: &Session<'_>, wanted: Option<&Mark>) -> Result<Change, StepError> {
    let site = &session.site;
    let found = site.functions().await?;
    if let Some(wanted) = wanted {
        let there = Site::same(&found, &wanted.function);
        if there.is_some_and(|one| one.mark.is_none()) {
            return Err(site.taken("function", wanted.function.name.as_str()).permanent());
        }
        if there.and_then(|one| one.mark.as_ref()) != Some(wanted) {
            let signature = wanted.function.signature(site.within());
            let prior: Prior = notes::read(session.run(), notes::PRIOR).unwrap_or_default();
            let same = there.and_then(|one| one.mark.as_ref()).is_some_and(|mark| mark.function == wanted.function);
            // One that is replaced loses its grants, so one that is as it should be stays; but not one of a service that is gone.
            let sql = if same && prior.service.is_some() {
                wanted.function.comment(site.within(), &wanted.comment())
            } else {
                session.tell(format!("Making the function {signature}.")).await;
                wanted.function.create(site.within(), &site.goal.service, &wanted.comment())
            };
            if let Change::Wait(wait) = session.change(sql, "making the function").await? {
                return Ok(Change::Wait(wait));
            }
        }
    }
    // Those of other names or arguments that earlier updates made.
    for one in found.iter().filter(|one| one.mark.is_some()) {
        if wanted
            .is_some_and(|wanted| one.name == wanted.function.name.as_str() && one.types == wanted.function.types())
        {
            continue;
        }
        let Some(old) = one.mark.as_ref().map(|mark| &mark.function).filter(|old| is_it(old, &one.name, &one.types))
        else {
            continue;
        };
        let signature = old.signature(site.within());
        session.tell(format!("Dropping the function {signature}.")).await;
        if let Change::Wait(wait) = session.change(format!("DROP FUNCTION {signature}"), "dropping a function").await? {
            return Ok(Change::Wait(wait));
        }
    }
    Ok(Change::Done)
}

/// A comment can be copied to another function: only the one that it tells of is ours.
fn is_it(function: &Function, name: &str, types: &str) -> bool {
    Ident::exact(name).is_ok_and(|name| name == function.name) && function.types() == types
}
