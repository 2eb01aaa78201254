//! What our objects are called, and the marks by which we know them.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::spec::DeploySpec;

/// Our field manager.
pub(super) const MANAGER: &str = "slipway";
/// The label that makes an object ours: the hash of installation, infrastructure and deployment.
pub(super) const OWNER: &str = "slipway/deployment";
/// The label of Pods: the hash of what one update made run.
pub(super) const REVISION: &str = "slipway/revision";
/// The annotation with the manifest as it was last applied: what a restore puts back.
pub(super) const APPLIED: &str = "slipway/applied";
/// The annotation of what people call the deployment.
pub(super) const DEPLOYMENT_ID: &str = "slipway/deployment-id";
/// The annotation of the Deployment with its versions and their shares.
pub(super) const VERSIONS: &str = "slipway/versions";
/// The annotation of the Deployment with the kinds beside the usual ones of which this deployment has objects: somebody may take the right to them away.
pub(super) const KINDS: &str = "slipway/kinds";

/// Of a name that people gave, so many characters stay readable.
const READABLE: usize = 30;

/// The kinds that a Deployment names in [`KINDS`].
pub(super) fn kinds_of(deployment: &Value) -> Vec<String> {
    let named = deployment.pointer("/metadata/annotations").and_then(|all| all.get(KINDS)?.as_str());
    named.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// The names of one deployment's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The Deployment's, its Service's, and the beginning of all others.
    pub(super) base: String,
    /// The value of [`OWNER`].
    pub(super) owner: String,
}

impl Names {
    pub(super) fn of(spec: &DeploySpec) -> Self {
        let owner = hash([spec.infrastructure.id.as_str(), &spec.owner()], 16);
        let base = format!("slipway-{}-{}", slug(&spec.deployment, READABLE), &owner[..8]);
        Self { base, owner }
    }

    /// The name of an object whose content never changes: another content is another object.
    pub(super) fn with(&self, what: &str, content: &str) -> String {
        format!("{}-{what}-{}", self.base, hash([content], 10))
    }

    /// Whether this object is this deployment's.
    pub(super) fn owns(&self, object: &Value) -> bool {
        object.pointer("/metadata/labels").and_then(|labels| labels.get(OWNER)).and_then(Value::as_str)
            == Some(self.owner.as_str())
    }

    /// What selects them.
    pub(super) fn selector(&self) -> String {
        format!("{OWNER}={}", self.owner)
    }

    /// The labels of every object, over those of the settings.
    pub(super) fn labels(&self, service: &str, of_settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = of_settings.clone();
        labels.retain(|name, _| !is_own(name));
        labels.insert(OWNER.to_owned(), self.owner.clone());
        labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
        labels.insert("app.kubernetes.io/instance".to_owned(), self.base.clone());
        labels.insert("app.kubernetes.io/name".to_owned(), slug(service, 63));
        labels
    }
}

/// Labels and annotations that settings can't set.
pub(super) fn is_own(name: &str) -> bool {
    name.starts_with("slipway/") || name.starts_with("app.kubernetes.io/")
}

/// Lower-case letters, digits and single hyphens, at most `most`, with neither end a hyphen; `x` if nothing is left.
pub(super) fn slug(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        if c == '-' && (out.is_empty() || out.ends_with('-')) {
            continue;
        }
        if out.len() == most {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end_matches('-').len());
    if out.is_empty() { "x".to_owned() } else { out }
}

/// So many hexadecimal characters of the SHA-256 of these parts.
pub(super) fn hash<'a>(parts: impl IntoIterator<Item = &'a str>, characters: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        // The length keeps `ab` + `c` apart from `a` + `bc`.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..characters.min(hex.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_labels() {
        for (text, most, slugged) in
            [("Churn_Prod 2", 30, "churn-prod-2"), ("--Ä--", 30, "x"), ("a--b-", 30, "a-b"), ("abcdef", 3, "abc")]
        {
            assert_eq!(slug(text, most), slugged);
        }
        assert_eq!(slug("ab-cd", 3), "ab");
    }

    #[test]
    fn hashes_keep_parts_apart() {
        assert_ne!(hash(["ab", "c"], 16), hash(["a", "bc"], 16));
        assert_eq!(hash(["a"], 10).len(), 10);
    }
}
