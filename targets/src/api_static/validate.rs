//! Step `validate_remap`: all that can be known without changing anything, all problems at once.

use std::collections::BTreeSet;

use engine::{
    failure::{Code, Failure, StepError, StepOutcome, StepResult},
    packages::PackageKey,
};
use serde_json::Value;

use super::{
    deliver::problem_of,
    foreign,
    session::{Place, Session},
};
use crate::{
    managed::opener::Opener,
    {
        codes,
        service::Authorization,
        service_package::package_failed,
        target::{ImportRecords, Problem},
    },
};

/// The longest id that a path of an API node takes, in characters.
const LONGEST: usize = 100;
/// Shares sum to 1 within this.
const NEAR: f64 = 1e-6;

pub(super) async fn validate(session: &Session<'_>) -> StepResult {
    let mut found = problems(&session.place, Opener::Run(session.run()), session.work.imports, true).await?;
    found.extend(archives(session).await?);
    found.dedup();
    let Some(first) = found.first() else {
        let warnings = session.place.service.endpoints_of_some().into_iter().collect();
        return Ok(StepOutcome::Done { output: Value::Null, warnings });
    };
    let codes: BTreeSet<_> = found.iter().map(|problem| problem.code.as_str()).collect();
    let code = match codes::ALL.iter().find(|known| **known == first.code) {
        Some(known) if codes.len() == 1 => Code::new(known),
        _ => codes::VALIDATION_FAILED,
    };
    let sentences: Vec<_> = found.iter().map(|problem| problem.message.as_str()).collect();
    // A node that is not alive may be starting; nothing else here passes by itself.
    let passing = code == codes::API_NODE_NOT_ALIVE;
    let failure = Failure::new(code, sentences.join(" "));
    Err(if passing { failure.retryable(None) } else { failure.permanent() })
}

/// Every version's archive is in the store.
async fn archives(session: &Session<'_>) -> Result<Vec<Problem>, StepError> {
    let mut found = Vec::new();
    for version in &session.place.service.versions {
        let opened = match PackageKey::of(&version.sha256) {
            Ok(key) => session.work.packages.open_package(&key).await.map(|(size, _)| size),
            Err(error) => Err(error),
        };
        let message = match opened {
            Ok(size) if size == version.size => continue,
            Ok(_) => "The stored package is damaged: it has another size than was uploaded.".to_owned(),
            Err(error) => match package_failed(error) {
                StepError::Permanent(failure) => failure.message,
                passing => return Err(passing),
            },
        };
        found.push(problem_of(&codes::SERVICE_PACKAGE_INVALID, format!("Version {}: {message}", version.version)));
    }
    Ok(found)
}

/// What would stop an update, as far as it can be seen from here.
pub(super) async fn problems(
    place: &Place<'_>,
    opener: Opener<'_>,
    imports: &dyn ImportRecords,
    on_worker: bool,
) -> Result<Vec<Problem>, StepError> {
    let mut found = of_spec(place);
    if !place.api.is_alive().await? {
        let message = "The API node says that it is not alive (isAlive). Look at the node, or whether it was taken out for an upgrade.";
        found.push(problem_of(&codes::API_NODE_NOT_ALIVE, message));
    }
    place.api.services().await?;
    found.extend(foreign::problems(place, imports).await?);
    let largest = place.service.versions.iter().map(|version| version.size).max().unwrap_or_default();
    match place.way(opener).await {
        Ok(way) => found.extend(way.problems(largest, on_worker).await?),
        Err(StepError::Permanent(failure)) => found.push(problem_of(&failure.code, failure.message)),
        Err(other) => return Err(other),
    }
    Ok(found)
}

fn of_spec(place: &Place<'_>) -> Vec<Problem> {
    let (service, mut found) = (place.service, Vec::new());
    let mut add = |code: Code, message: String| found.push(problem_of(&code, message));
    let id = place.id();
    let wrong = |c: char| c.is_control() || matches!(c, '/' | '\\' | '?' | '#' | '%');
    if id.trim().is_empty() || id.chars().count() > LONGEST || id.contains(wrong) || matches!(id, "." | "..") {
        add(
            codes::SETTING_INVALID,
            format!("The service's id on the node, \"{id}\", can't stand in a path. Choose another."),
        );
    }
    let sum: f64 = service.versions.iter().map(|version| version.probability).sum();
    let within = service.versions.iter().all(|version| version.probability > 0.0 && version.probability <= 1.0);
    if !within || (sum - 1.0).abs() > NEAR {
        add(codes::SETTING_INVALID, "The versions' probabilities must each be above 0, and sum to 1.".to_owned());
    }
    let names: BTreeSet<_> = service.versions.iter().map(|version| &version.version).collect();
    if names.len() < service.versions.len() {
        add(codes::SETTING_INVALID, "A version stands twice among the deployment's versions.".to_owned());
    }
    if let Some(endpoint) = &service.endpoint {
        for version in &service.versions {
            if version.endpoints.iter().all(|one| one.id != *endpoint) {
                add(codes::ENDPOINT_MISSING, format!("Version {} has no endpoint \"{endpoint}\".", version.version));
            }
        }
    }
    match &service.authorization {
        Some(Authorization::ApiKeys { keys }) if keys.is_empty() => {
            add(
                codes::SETTING_MISSING,
                "The deployment wants API keys of callers and has none: nobody could call. Add a key.".to_owned(),
            );
        }
        Some(Authorization::Oauth2(tokens)) if tokens.jwks.is_none() && tokens.jwks_uri.is_none() => {
            add(
                codes::SETTING_MISSING,
                "The deployment wants JWTs of callers and names no keys that they are signed with (jwks or jwksUri)."
                    .to_owned(),
            );
        }
        _ => {}
    }
    found
}
