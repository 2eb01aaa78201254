//! Step `validate_remap`: everything that can be known before anything changes, all problems at once.

use engine::failure::{Failure, StepError, StepOutcome, StepResult};

use super::{
    api::State,
    check, image,
    session::{Place, Session},
};
use crate::{codes, spec::Authorization};

/// SageMaker's limit.
const MOST_VARIANTS: usize = 10;

pub(super) async fn validate(session: &Session<'_>) -> StepResult {
    match told(problems(&session.place).await?) {
        None => Ok(StepOutcome::done()),
        Some(failure) => Err(failure.permanent()),
    }
}

/// All of them as one.
fn told(problems: Vec<Failure>) -> Option<Failure> {
    let first = problems.first()?.code.clone();
    if problems.iter().all(|problem| problem.code == first) {
        let told: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
        return Some(Failure::new(first, told.join(" ")));
    }
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Some(Failure::new(codes::VALIDATION_FAILED, told.join(" ")))
}

/// What stops an update of this spec.
pub(super) async fn problems(place: &Place<'_>) -> Result<Vec<Failure>, StepError> {
    let mut problems = of_settings(place);
    problems.extend(of_spec(place));
    // Fails if the credentials don't work.
    problems.extend(check::elsewhere(&place.settings, &place.account.caller().await?));
    if place.account.repository(place.settings.repository()).await?.is_none() && !place.settings.create_repository {
        let message = format!(
            "There is no ECR repository {}. Create it, or let Slipway do so (createRepository).",
            place.settings.repository()
        );
        problems.push(Failure::new(codes::SAGEMAKER_REPOSITORY_MISSING, message));
    }
    problems.extend(image::check_base(&place.account, &place.settings, place.opener).await?);
    if let Some(endpoint) = place.endpoint().await? {
        if !place.names.own(&place.account.tags(&endpoint.arn).await?) {
            let failure = place.taken(&format!("an endpoint {}", place.names.endpoint));
            problems.push(failure);
        } else if endpoint.state() == State::Mixed {
            let message = format!(
                "An earlier update of the endpoint {} failed, and so did SageMaker's way back. Delete the endpoint, or turn to AWS' support.",
                place.names.endpoint
            );
            problems.push(Failure::new(codes::SAGEMAKER_ROLLBACK_FAILED, message));
        }
    }
    Ok(problems)
}

fn of_settings(place: &Place<'_>) -> Vec<Failure> {
    let missing = place.settings.missing().into_iter().map(|path| {
        Failure::new(codes::SETTING_MISSING, format!("The infrastructure's setting {path} is needed, and is not set."))
    });
    let wrong = |whose: &'static str| {
        move |(path, sentence): (String, String)| {
            Failure::new(codes::SETTING_INVALID, format!("The {whose}'s setting {path}: {sentence}"))
        }
    };
    missing
        .chain(place.settings.problems().into_iter().map(wrong("infrastructure")))
        .chain(place.overrides.problems().into_iter().map(wrong("deployment")))
        .collect()
}

fn of_spec(place: &Place<'_>) -> Vec<Failure> {
    let service = place.service;
    let mut problems = Vec::new();
    if service.versions.is_empty() || service.versions.len() > MOST_VARIANTS {
        let message = format!(
            "An endpoint has 1 to {MOST_VARIANTS} versions, each a variant of its own; this deployment has {}.",
            service.versions.len()
        );
        problems.push(Failure::new(codes::SAGEMAKER_TOO_MANY_VERSIONS, message));
    }
    // The same sentence for every version is told once.
    let mut unserved: Vec<_> = service.versions.iter().filter_map(|one| image::endpoint(place, one).err()).collect();
    unserved.dedup();
    problems.extend(unserved);
    if service.auditing.as_ref().is_some_and(|auditing| auditing.container_secret().is_some()) {
        let message = "The query log wants a key, and SageMaker has no place where a container's key is not seen by whoever may describe the model. Let the infrastructure's query log name in keyVariable an environment variable that you fill yourself, and leave the deployment's own out, or log without a key.";
        problems.push(Failure::new(codes::SETTING_INVALID, message));
    }
    if matches!(service.authorization, Some(Authorization::ApiKeys { .. } | Authorization::Oauth2(_))) {
        let message = "On SageMaker, IAM decides who may query: the endpoint gets no key and no token to look at. Leave the deployment's authorization as it is, or make it public.";
        problems.push(Failure::new(codes::SAGEMAKER_AUTHORIZATION_UNSUPPORTED, message.to_owned()));
    }
    problems
}
