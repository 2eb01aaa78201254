//! Step `validate_remap`: everything that can be known without changing anything.

use engine::failure::{StepError, StepOutcome, StepResult};
use serde_json::json;

use super::{needs, place::Problems, report, session::Session, site::Site};
use crate::{codes, target::Problem};

/// All problems at once.
pub(super) async fn validate(session: &Session<'_>) -> StepResult {
    let problems = problems(&session.site).await?;
    if !problems.is_empty() {
        return Err(report::failure(&problems).permanent());
    }
    let goal = &session.site.goal;
    Ok(StepOutcome::output(json!({"service": goal.service.as_str(), "image": goal.image.path})))
}

/// What would stop an update, beside what the spec itself says.
pub(super) async fn problems(site: &Site) -> Result<Vec<Problem>, StepError> {
    let mut problems = Problems::default();
    needs::look(&site.api, &site.place, &mut problems).await?;
    let unreachable = problems.0.iter().any(|one| one.code != codes::SETTING_INVALID.as_str());
    match site.own_service().await {
        Ok(_) => {}
        Err(StepError::Permanent(failure)) if failure.code == codes::PLATFORM_NAME_TAKEN => {
            problems.add(failure.code, failure.message);
        }
        // What lies in a schema that may not be seen can't be asked for; that was told above.
        Err(StepError::Permanent(failure)) if unreachable && failure.code == codes::NODE_FORBIDDEN => {}
        Err(error) => return Err(error),
    }
    match site.functions().await {
        Ok(found) => {
            if Site::same(&found, &site.goal.function).is_some_and(|one| one.mark.is_none()) {
                let failure = site.taken("function", site.goal.function.name.as_str());
                problems.add(failure.code, failure.message);
            }
        }
        Err(error) if unreachable && (error.is(&codes::NODE_FORBIDDEN) || error.is(&codes::NODE_NOT_FOUND)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(problems.0)
}
