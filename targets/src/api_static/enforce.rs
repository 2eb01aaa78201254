//! Step `enforce_run_as`: who may call. That stands in the generations that were pushed; here each is asked from outside, as a caller would.

use engine::failure::{Failure, StepError, StepOutcome, StepResult};

use super::{
    probe::{self, Door, Shown},
    session::{Place, Session},
};
use crate::{caller, codes, managed::opener::Opener};

pub(super) async fn enforce(session: &Session<'_>) -> StepResult {
    let warnings = ask(&session.place, Opener::Run(session.run())).await?;
    Ok(StepOutcome::Done { output: serde_json::Value::Null, warnings })
}

/// Asks every generation without credentials, and with those that there are. Answers what could not be seen.
async fn ask(place: &Place<'_>, opener: Opener<'_>) -> Result<Vec<String>, StepError> {
    let key = caller::key(place.service, opener).await?;
    let mut unseen = Vec::new();
    for version in &place.service.versions {
        let name = &version.version;
        let Some(endpoint) = probe::harmless(version) else {
            if probe::door(place, version) == Door::Locked {
                unseen.push(format!(
                    "Who may call version {name} was not seen from outside: it has no endpoint that can be asked without running something."
                ));
            }
            continue;
        };
        let bare = probe::probe(place, version, endpoint, None).await?;
        match (probe::door(place, version), bare) {
            (_, Shown::Silent(status)) => return Err(silent(name, status)),
            (Door::Locked, Shown::Answers | Shown::Fails) => {
                let message = format!(
                    "Version {name} answers callers without credentials, and should not. Look at how the node is set up."
                );
                return Err(Failure::new(codes::SERVICE_AUTH_DIFFERS, message).permanent());
            }
            (Door::Open, Shown::Refuses) => {
                let message = format!(
                    "Version {name} should answer everybody, and refuses a caller without credentials. Look at what is before the node."
                );
                return Err(Failure::new(codes::SERVICE_AUTH_DIFFERS, message).permanent());
            }
            (Door::Open | Door::Unknown, Shown::Answers | Shown::Fails)
            | (Door::Locked | Door::Unknown, Shown::Refuses) => {}
        }
        if let Some(key) = &key {
            match probe::probe(place, version, endpoint, Some(key)).await? {
                Shown::Answers | Shown::Fails => {}
                Shown::Silent(status) => return Err(silent(name, status)),
                Shown::Refuses => {
                    let message = format!(
                        "Version {name} refuses a key that the deployment lets in. Look at how the node is set up."
                    );
                    return Err(Failure::new(codes::SERVICE_AUTH_DIFFERS, message).permanent());
                }
            }
        }
    }
    Ok(unseen)
}

fn silent(version: &str, status: u16) -> StepError {
    let message = format!(
        "The node does not answer queries of version {version} ({}), though it shows it as active. Look at the node's log.",
        probe::said(status)
    );
    Failure::new(codes::SERVICE_NOT_ANSWERING, message).retryable(None)
}
