//! Step `validate_remap`: all that would stop the update, found without changing anything.

use engine::failure::{StepError, StepOutcome, StepResult};

use super::{check, names, session::Session, settings::Settings};
use crate::{
    azure::connection::{Azure, AzureSettings},
    codes,
    managed::{
        opener::Opener,
        problems::{self, Problems},
    },
    spec::DeploySpec,
    target::Work,
};

pub(super) async fn validate(azure: &Azure, work: &Work<'_>) -> StepResult {
    let (problems, _) = problems(azure, work.spec, Opener::Run(work.run)).await?;
    match problems.failure() {
        Some(failure) => Err(failure.permanent()),
        None => Ok(StepOutcome::done()),
    }
}

/// What stops an update, and the session, if one could be opened. What may pass by itself is an error.
pub(super) async fn problems<'a>(
    azure: &Azure,
    spec: &'a DeploySpec,
    opener: Opener<'a>,
) -> Result<(Problems, Option<Session<'a>>), StepError> {
    let mut found = Problems::default();
    problems::of_service(spec, "Azure ML asks every caller for its own keys or tokens.", &mut found);
    match Settings::read(spec) {
        Ok(settings) => settings.missing(&mut found),
        Err(failure) => found.take(failure),
    }
    match AzureSettings::read(spec.infrastructure.connection.as_ref()) {
        Ok(connection) => connection.problems(&mut found),
        Err(failure) => found.take(failure),
    }
    let of_place =
        [codes::SETTING_MISSING, codes::SETTINGS_UNREADABLE, codes::CONNECTION_UNFIT, codes::SERVICE_EXPECTED];
    if found.0.iter().any(|one| of_place.iter().any(|code| code.as_str() == one.code)) {
        return Ok((found, None));
    }
    let session = match Session::open(azure, spec, opener).await {
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
    let repository = super::push::repository(&session);
    check::rights(
        azure,
        &session.arm,
        &names::workspace(&session.settings),
        &session.connection,
        opener,
        &repository,
        &mut found,
    )
    .await?;
    let patience = spec.infrastructure.node.call_timeout_ms;
    check::base(azure, &session.settings, &session.connection, opener, patience, &mut found).await?;
    Ok((found, Some(session)))
}
