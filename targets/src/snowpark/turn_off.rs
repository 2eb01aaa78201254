//! Steps `switch_off` and `delete_project`: nothing runs any more; nothing of ours is left.

use engine::failure::{StepOutcome, StepResult};
use serde_json::json;

use super::{
    activate::{functions, note_prior},
    goal::auto_resume,
    session::{Change, LOOK_EVERY, LOOK_SOON, Session},
};

/// Suspends the service, and lets no query wake it up: its function stays, and answers nothing.
pub(super) async fn switch_off(session: &Session<'_>) -> StepResult {
    note_prior(session).await?;
    match session.site.own_service().await? {
        None => Ok(absent(session)),
        Some((service, _)) if service.auto_resume != Some(false) => {
            let sql = auto_resume(&session.site.goal.service_path(&session.site.place), false);
            let waited = session.change(sql, "letting no query wake the service up").await?;
            Ok(StepOutcome::NotYet { check_in: if let Change::Wait(check_in) = waited { check_in } else { LOOK_SOON } })
        }
        Some((service, _)) if service.is("SUSPENDED") => {
            Ok(StepOutcome::output(json!({"suspended": session.site.goal.service.as_str()})))
        }
        Some((service, _)) => {
            if !service.is("SUSPENDING") {
                session.tell(format!("Suspending the service {}.", session.site.goal.service)).await;
                session.switch("suspend", "suspending the service").await?;
            }
            Ok(StepOutcome::NotYet { check_in: LOOK_EVERY })
        }
    }
}

/// Drops the functions, then the service. Images stay in the repository: other deployments may use their layers.
pub(super) async fn remove(session: &Session<'_>) -> StepResult {
    let there = session.site.own_service().await?;
    if let Change::Wait(check_in) = functions(session, None).await? {
        return Ok(StepOutcome::NotYet { check_in });
    }
    match there {
        Some((service, _)) => {
            if !service.is_going() {
                session.tell(format!("Deleting the service {}.", session.site.goal.service)).await;
                session.delete_service().await?;
            }
            Ok(StepOutcome::NotYet { check_in: LOOK_EVERY })
        }
        None => Ok(StepOutcome::output(json!({"deleted": session.site.goal.service.as_str()}))),
    }
}

fn absent(session: &Session<'_>) -> StepOutcome {
    let warning = format!("The service {} is not in Snowflake: there was nothing to do.", session.site.goal.service);
    StepOutcome::Done { output: json!({}), warnings: vec![warning] }
}
