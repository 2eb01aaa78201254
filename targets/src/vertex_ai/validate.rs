//! Step `validate_remap`: all that would stop the update, found without changing anything.

use engine::failure::{StepError, StepOutcome, StepResult};

use super::{check, session::Session, settings::Settings};
use crate::{
    codes,
    gcp::connection::{Gcp, GcpSettings},
    managed::{
        opener::Opener,
        problems::{self, Problems},
    },
    spec::DeploySpec,
    target::Work,
};

pub(super) async fn validate(gcp: &Gcp, work: &Work<'_>) -> StepResult {
    let (problems, _) = problems(gcp, work.spec, Opener::Run(work.run)).await?;
    match problems.failure() {
        Some(failure) => Err(failure.permanent()),
        None => Ok(StepOutcome::done()),
    }
}

/// What stops an update, and the session, if one could be opened. What may pass by itself is an error.
pub(super) async fn problems<'a>(
    gcp: &Gcp,
    spec: &'a DeploySpec,
    opener: Opener<'a>,
) -> Result<(Problems, Option<Session<'a>>), StepError> {
    let mut found = Problems::default();
    problems::of_service(spec, "Vertex AI asks every caller for a token of Google's.", &mut found);
    match Settings::read(spec) {
        Ok(settings) => settings.missing(&mut found),
        Err(failure) => found.take(failure),
    }
    match GcpSettings::read(spec.infrastructure.connection.as_ref()) {
        Ok(connection) => connection.problems(&mut found),
        Err(failure) => found.take(failure),
    }
    let of_place =
        [codes::SETTING_MISSING, codes::SETTINGS_UNREADABLE, codes::CONNECTION_UNFIT, codes::SERVICE_EXPECTED];
    if found.0.iter().any(|one| of_place.iter().any(|code| code.as_str() == one.code)) {
        return Ok((found, None));
    }
    let session = match Session::open(gcp, spec, opener).await {
        Ok(session) => session,
        Err(StepError::Permanent(failure)) => {
            found.take(failure);
            return Ok((found, None));
        }
        Err(error) => return Err(error),
    };
    match session.endpoint().await {
        Ok(_) => {}
        Err(error) if !error.retryable => found.take(error.failure),
        Err(error) => return Err(error.into()),
    }
    check::rights(gcp, &session.settings, &session.connection, opener, &mut found).await?;
    let patience = spec.infrastructure.node.call_timeout_ms;
    check::base(gcp, &session.settings, &session.connection, opener, patience, &mut found).await?;
    Ok((found, Some(session)))
}
