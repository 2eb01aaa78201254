//! What can be set on the deployment of an API service, beside what every deployment has.

use std::collections::BTreeSet;

use engine::{db::Tx, secrets::Keyring};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use targets::{
    http::BlockList,
    target::{Target, VersionShare},
};

use crate::{
    error::{Problems, Result},
    infrastructures::{
        self,
        documents::{Logged, query_log},
    },
    kept::inside,
    names,
    schema::{self, Document, Prepared},
    sealed,
    services::{AUTHORIZATION, checks},
};

/// So many versions share the queries of one deployment at most.
const MOST_VERSIONS: usize = 20;
/// The most groups that may query through the deployer.
const MOST_GROUPS: usize = 200;
/// Shares sum to 1, but for this.
const TOLERANCE: f64 = 1e-6;

/// What is set on the deployment of an API service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiSettings {
    /// Several versions, each with its share of the queries; empty is the deployment's one version.
    pub versions: Vec<VersionShare>,
    /// The only endpoint that is served, on platforms that serve one.
    pub endpoint: Option<String>,
    /// The groups whose members may query through the deployer, beside those who may deploy.
    pub query_groups: Vec<String>,
    /// In place of what the versions say of who may call, as [`AUTHORIZATION`] describes it; empty leaves that.
    pub authorization: Map<String, Value>,
    /// In place of the infrastructure's, as [`crate::services::QUERY_LOG`] describes it; empty leaves that.
    pub query_log: Map<String, Value>,
    /// What the target wants to know of a deployment, as its deployment schema describes it.
    pub platform: Map<String, Value>,
}

/// What to change of them; None leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiChange {
    /// Whether it takes queries: the next update makes it so.
    pub enabled: Option<bool>,
    /// All versions with shares; empty is the deployment's one version.
    pub versions: Option<Vec<VersionShare>>,
    /// The endpoint.
    pub endpoint: Option<Option<String>>,
    /// All groups.
    pub query_groups: Option<Vec<String>>,
    /// Who may call.
    pub authorization: Option<Document>,
    /// Where queries are logged.
    pub query_log: Option<Document>,
    /// What the target wants to know.
    pub platform: Option<Document>,
}

/// A change that was checked, its secrets still to be sealed.
pub(super) struct PreparedApi {
    settings: ApiSettings,
    named_before: Vec<String>,
    authorization: Option<Prepared>,
    query_log: Option<Prepared>,
    platform: Option<Prepared>,
}

/// Checks a change, and notes all that is wrong with it.
pub(super) fn prepare(
    target: &dyn Target,
    place: &infrastructures::Settings,
    old: &ApiSettings,
    change: &ApiChange,
    blocked: &BlockList,
    problems: &mut Problems,
) -> Result<PreparedApi> {
    let mut settings = old.clone();
    if let Some(versions) = &change.versions {
        settings.versions.clone_from(versions);
        check_versions(versions, problems);
    }
    if let Some(endpoint) = &change.endpoint {
        settings.endpoint = endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        if let Some(endpoint) = &settings.endpoint {
            names::check(endpoint, "endpoint", problems);
            if !target.describe().one_endpoint {
                let message = "This platform serves all endpoints of a version. Leave it out.";
                problems.add("SETTING_INVALID", "endpoint", message);
            }
        }
    }
    if let Some(groups) = &change.query_groups {
        settings.query_groups.clone_from(groups);
        check_groups(groups, problems);
    }
    let authorization = match &change.authorization {
        Some(document) if document.0.is_empty() => Some(Prepared::default()),
        Some(document) => {
            let schema = schema::of(AUTHORIZATION)?;
            checks::authorization(&document.0, "authorization", problems);
            let public = document.0.get("method").and_then(Value::as_str) == Some("PUBLIC");
            if !public && target.services().is_some_and(|services| services.has_gate()) {
                let message = "This platform lets in callers itself, at a gate of its own: keys and tokens of the service never get through. Leave this out.";
                problems.add("AUTHORIZATION_UNSUPPORTED", "authorization", message);
            }
            Some(schema::take(&schema, &old.authorization, document.clone(), "authorization", problems))
        }
        None => None,
    };
    let query_log = match &change.query_log {
        Some(document) => {
            if document.0.contains_key("keyVariable") {
                // Else whoever deploys could have any secret of the container sent to an address of their own.
                let message =
                    "Only the infrastructure's query log names a variable of the container. Leave it out here.";
                problems.add("SETTING_INVALID", "queryLog.keyVariable", message);
            }
            let before = Logged { old: &old.query_log, moved: None };
            Some(query_log(target, &before, document.clone(), "queryLog", blocked, problems)?)
        }
        None => None,
    };
    let platform = match &change.platform {
        Some(document) => {
            let schema = schema::of(target.describe().deployment)?;
            let before = problems.count();
            let prepared = schema::take(&schema, &old.platform, document.clone(), "platform", problems);
            // What the schema refuses, the target can't read.
            if let Some(services) = target.services().filter(|_| problems.count() == before) {
                for (path, message) in services.problems(&place.platform, &prepared.draft()) {
                    problems.add("SETTING_INVALID", inside("platform", &path), message);
                }
            }
            Some(prepared)
        }
        None => None,
    };
    let named_before = old.query_groups.clone();
    Ok(PreparedApi { settings, named_before, authorization, query_log, platform })
}

impl PreparedApi {
    /// The groups that it names and that were not named before: one that is gone since keeps nobody from saving.
    pub(super) fn new_groups(&self) -> BTreeSet<String> {
        let groups = self.settings.query_groups.iter().filter(|group| !self.named_before.contains(group));
        groups.cloned().collect()
    }

    /// The versions that it names.
    pub(super) fn versions(&self) -> &[VersionShare] {
        &self.settings.versions
    }

    /// Seals what was entered, and answers the settings as the row holds them.
    pub(super) async fn seal(self, tx: &Tx, keyring: &Keyring, deployment: &str) -> Result<ApiSettings> {
        let owner = sealed::deployment_owner_of(deployment);
        let mut settings = self.settings;
        if let Some(prepared) = self.authorization {
            settings.authorization = prepared.seal(tx, keyring, &owner).await?;
        }
        if let Some(prepared) = self.query_log {
            settings.query_log = prepared.seal(tx, keyring, &owner).await?;
        }
        if let Some(prepared) = self.platform {
            settings.platform = prepared.seal(tx, keyring, &owner).await?;
        }
        Ok(settings)
    }
}

/// Bounds on versions that share queries.
pub(super) fn check_versions(versions: &[VersionShare], problems: &mut Problems) {
    if versions.len() > MOST_VERSIONS {
        problems.add("TOO_MANY", "versions", format!("At most {MOST_VERSIONS} versions share the queries."));
        return;
    }
    for (at, share) in versions.iter().enumerate() {
        names::check(&share.version, &format!("versions[{at}].version"), problems);
        if !(share.probability > 0.0 && share.probability <= 1.0) {
            let message = "A share is above 0 and at most 1.";
            problems.add("VERSION_SHARES_INVALID", format!("versions[{at}].probability"), message);
        }
        if versions[..at].iter().any(|other| other.version == share.version) {
            let message = "This version is there twice. Keep one of the two.";
            problems.add("VERSION_SHARES_INVALID", format!("versions[{at}].version"), message);
        }
    }
    let sum: f64 = versions.iter().map(|share| share.probability).sum();
    if !versions.is_empty() && (sum.is_nan() || (sum - 1.0).abs() > TOLERANCE) {
        problems.add("VERSION_SHARES_INVALID", "versions", "The shares of all versions sum to 1.");
    }
}

fn check_groups(groups: &[String], problems: &mut Problems) {
    if groups.len() > MOST_GROUPS {
        problems.add("TOO_MANY", "queryGroups", format!("At most {MOST_GROUPS} groups may query."));
        return;
    }
    for (at, group) in groups.iter().enumerate() {
        if groups[..at].contains(group) {
            problems.add("GROUP_REPEATED", format!("queryGroups[{at}]"), "This group is named twice.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn told(versions: &[(&str, f64)]) -> Vec<(&'static str, String)> {
        let share = |(version, probability): &(&str, f64)| VersionShare {
            version: (*version).to_owned(),
            probability: *probability,
        };
        let mut problems = Problems::default();
        check_versions(&versions.iter().map(share).collect::<Vec<_>>(), &mut problems);
        match problems.check() {
            Err(Error::Refused(all)) => all.into_iter().map(|one| (one.code, one.field.unwrap_or_default())).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn shares_sum_to_one() {
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[("v1", 1.0)]), []);
        assert_eq!(told(&[("v1", 0.1), ("v2", 0.2), ("v3", 0.7)]), []);
        let wrong = |field: &str| ("VERSION_SHARES_INVALID", field.to_owned());
        assert_eq!(told(&[("v1", 0.5), ("v2", 0.4)]), [wrong("versions")]);
        assert_eq!(told(&[("v1", 0.5), ("v1", 0.5)]), [wrong("versions[1].version")]);
        assert_eq!(told(&[("v1", 0.0), ("v2", 1.0)]), [wrong("versions[0].probability")]);
        assert_eq!(told(&[("v1", f64::NAN)]), [wrong("versions[0].probability"), wrong("versions")]);
    }
}
