//! What our things are called in an account, and the marks by which we find them again.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::settings::{Overrides, Settings};
use crate::spec::{DeploySpec, ServiceSpec};

/// The tag that says whose a thing is.
pub(super) const DEPLOYMENT: &str = "slipway:deployment";
/// The tag of a configuration that says for which endpoint it was made.
pub(super) const ENDPOINT: &str = "slipway:endpoint";
/// The tag of the published service's id.
pub(super) const SERVICE: &str = "slipway:service";
/// The variable of a container that says which version is in it.
pub(super) const VERSION: &str = "SLIPWAY_VERSION";

/// Names may have so many characters.
const LONGEST: usize = 63;

/// The names of one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The mark: in the tag [`DEPLOYMENT`].
    pub(super) mark: String,
    /// Its beginning: in names.
    pub(super) short: String,
    /// The endpoint.
    pub(super) endpoint: String,
}

impl Names {
    pub(super) fn of(spec: &DeploySpec, service: &ServiceSpec, overrides: &Overrides) -> Self {
        let mark = hash(&["deployment", &spec.owner()], 32);
        let short = mark[..12].to_owned();
        let endpoint = overrides.endpoint_name.clone().unwrap_or_else(|| {
            let slug = slug(&service.service_id, LONGEST - 1 - short.len());
            format!("{slug}-{short}")
        });
        Self { mark, short, endpoint }
    }

    /// The name of a thing of this content. Another content is another name, so nothing is ever changed behind a name.
    pub(super) fn of_content(&self, service: &ServiceSpec, body: &Value) -> String {
        let content = hash(&["content", &body.to_string()], 12);
        let rest = "slipway--".len() + 1 + self.short.len() + content.len();
        format!("slipway-{}-{}-{content}", slug(&service.service_id, LONGEST - rest), self.short)
    }

    /// What the tags of our images in a repository begin with.
    pub(super) fn image_prefix(&self) -> String {
        format!("slipway-{}-", self.short)
    }

    /// The tag of the image with this version.
    pub(super) fn image_tag(&self, content: &[&str]) -> String {
        format!("{}{}", self.image_prefix(), hash(content, 24))
    }

    /// Whether these tags say that a thing is this deployment's.
    pub(super) fn own(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.get(DEPLOYMENT) == Some(&self.mark)
    }

    /// The tags of a thing of ours: the administrators' and our marks.
    pub(super) fn tags(&self, settings: &Settings, overrides: &Overrides, more: &[(&str, &str)]) -> Value {
        let mut tags = settings.tags.clone();
        tags.extend(overrides.tags.clone());
        tags.insert(DEPLOYMENT.to_owned(), self.mark.clone());
        tags.extend(more.iter().map(|(key, value)| ((*key).to_owned(), tag_value(value))));
        tags.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
    }
}

/// The name of a version's variant.
pub(super) fn variant(base: &str, version: &str, alone: bool) -> String {
    if alone { base.to_owned() } else { format!("{base}-{}", hash(&["version", version], 10)) }
}

/// What a tag may hold.
fn tag_value(text: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || " _.:/=+-@".contains(c);
    text.chars().map(|c| if fine(c) { c } else { '_' }).take(256).collect()
}

/// Letters, digits and single hyphens between them; never empty.
fn slug(text: &str, most: usize) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() >= most {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "service".to_owned() } else { slug.to_owned() }
}

/// The first digits of a hash over these texts, told apart by their lengths.
fn hash(parts: &[&str], digits: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..digits].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_names() {
        for (text, slugged) in
            [("churn", "churn"), ("Churn__2", "Churn-2"), ("-ä-", "service"), ("", "service"), ("a-", "a")]
        {
            assert_eq!(slug(text, 20), slugged, "{text}");
        }
        assert_eq!(slug("abc-def", 4), "abc");
    }

    #[test]
    fn hashes_tell_parts_apart() {
        assert_ne!(hash(&["a", "bc"], 12), hash(&["ab", "c"], 12));
        assert_eq!(hash(&["a"], 12).len(), 12);
    }

    #[test]
    fn names_fit_and_tags_keep_our_marks() {
        let service = ServiceSpec {
            published_service_id: "s".into(),
            service_id: "s".repeat(200),
            versions: Vec::new(),
            endpoint: None,
            authorization: None,
            auditing: None,
            settings: serde_json::Map::new(),
        };
        let names = Names { mark: "m".repeat(32), short: "m".repeat(12), endpoint: "e".into() };
        assert!(names.of_content(&service, &json!({"a": 1})).len() <= LONGEST);
        assert_ne!(names.of_content(&service, &json!({"a": 1})), names.of_content(&service, &json!({"a": 2})));
        let settings = Settings {
            tags: BTreeMap::from([("team".into(), "a".into()), (DEPLOYMENT.into(), "foreign".into())]),
            ..Settings::default()
        };
        let overrides = Overrides { tags: BTreeMap::from([("team".into(), "b".into())]), ..Overrides::default() };
        let tags = names.tags(&settings, &overrides, &[(SERVICE, "churn\u{7}")]);
        assert_eq!(
            tags,
            json!([{"Key": DEPLOYMENT, "Value": names.mark}, {"Key": SERVICE, "Value": "churn_"}, {"Key": "team", "Value": "b"}])
        );
        assert_eq!(variant("AllTraffic", "v1", true), "AllTraffic");
        assert!(variant("AllTraffic", "v1", false).starts_with("AllTraffic-"));
    }
}
