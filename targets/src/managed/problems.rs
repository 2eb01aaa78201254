//! What stops an update, all of it at once.

use engine::failure::{Code, Failure};

use crate::{codes, spec::DeploySpec, target::Problem};

/// So many are named; the rest is counted.
const MAX_NAMED: usize = 50;

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// One more.
    pub(crate) fn add(&mut self, code: &Code, message: impl Into<String>) {
        self.0.push(Problem { code: code.to_string(), message: message.into() });
    }

    /// A failure as a problem.
    pub(crate) fn take(&mut self, failure: Failure) {
        self.0.push(Problem { code: failure.code.to_string(), message: failure.message });
    }

    /// A setting that nothing works without.
    pub(crate) fn need(&mut self, value: &str, path: &str, what: &str) {
        if value.trim().is_empty() {
            self.add(&codes::SETTING_MISSING, format!("{path}: {what} is missing. Enter it."));
        }
    }

    /// Their sentences.
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.0.iter().map(|problem| problem.message.clone()).collect()
    }

    /// One failure of them all; None if there is none.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let (first, rest) = self.0.split_first()?;
        if rest.is_empty() {
            let known = codes::ALL.iter().find(|code| **code == first.code);
            return Some(Failure::new(known.map_or(codes::VALIDATION_FAILED, |code| Code::new(code)), &first.message));
        }
        let mut lines: Vec<_> =
            self.0.iter().take(MAX_NAMED).map(|one| format!("{}: {}", one.code, one.message)).collect();
        if let more @ 1.. = self.0.len().saturating_sub(MAX_NAMED) {
            lines.push(format!("And {more} more."));
        }
        Some(Failure::new(codes::VALIDATION_FAILED, lines.join("\n")))
    }
}

/// What a platform that serves one endpoint through a gate of its own can't do for this service.
pub(crate) fn of_service(spec: &DeploySpec, gate: &str, problems: &mut Problems) {
    use crate::spec::Authorization;

    let Some(service) = &spec.service else {
        problems.add(&codes::SERVICE_EXPECTED, "This infrastructure takes API services, and this is none.");
        return;
    };
    match &service.endpoint {
        None => problems.add(
            &codes::ENDPOINT_NOT_CHOSEN,
            "This platform serves one endpoint of a service. Choose which in the deployment's settings.",
        ),
        Some(endpoint) => {
            for version in &service.versions {
                if let Err(failure) = super::image::endpoint(endpoint, version) {
                    problems.take(failure);
                }
            }
        }
    }
    if matches!(service.authorization, Some(Authorization::ApiKeys { .. } | Authorization::Oauth2(_))) {
        problems.add(
            &codes::AUTHORIZATION_UNSUPPORTED,
            format!("authorization: {gate} Keys and tokens of the service itself never get through. Clear the deployment's authorization."),
        );
    }
    if service.auditing.as_ref().is_some_and(|auditing| auditing.container_secret().is_some()) {
        let message = "The query log's key would be readable in the image or the endpoint's settings. Let the infrastructure's query log name in keyVariable an environment variable that you fill yourself, and leave the deployment's own out, or log without a key.";
        problems.add(&codes::SETTING_INVALID, message);
    }
    if super::shares::percents(&service.versions.iter().map(|one| one.probability).collect::<Vec<_>>()).is_none() {
        problems.add(
            &codes::VERSIONS_TOO_MANY,
            format!("This platform takes 1 to {} versions at once.", super::shares::MOST),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_keeps_its_code_and_several_share_one() {
        let mut problems = Problems::default();
        assert_eq!(problems.failure(), None);
        problems.need(" ", "workspace", "the workspace");
        problems.need("x", "location", "the region");
        assert_eq!(problems.failure().unwrap().code, codes::SETTING_MISSING);
        problems.add(&codes::PLATFORM_NAME_TAKEN, "Taken.");
        let all = problems.failure().unwrap();
        assert_eq!(all.code, codes::VALIDATION_FAILED);
        assert!(all.message.contains("workspace") && all.message.contains("PLATFORM_NAME_TAKEN: Taken."));
    }
}
