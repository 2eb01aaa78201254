//! The variables of expositions: names and texts, put in place of `${name}`. No code, no conditions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::names::{Names, slug};
use crate::{service::ServiceSpec, spec::DeploySpec};

/// A text with its variables replaced may be so long at most, in bytes.
const MOST_BYTES: usize = 256 * 1024;

/// The variables that every deployment has.
const FIXED: &[&str] = &[
    "namePrefix",
    "executionId",
    "k8sDeploymentId",
    "exposedPort",
    "apiDeploymentId",
    "infraId",
    "publishedServiceId",
    "deployedServiceId",
    "k8sFriendlyDeploymentId",
    "k8sFriendlyInfraId",
    "k8sFriendlyPublishedServiceId",
    "k8sFriendlyDeployedServiceId",
    "k8sFriendlyApiDeploymentId",
    "apiDeployerDeploymentId",
    "labels",
    "labelsJsonFields",
    "labelsHeader",
    "annotations",
    "annotationsJsonFields",
    "annotationsHeader",
    "selector",
    "selectorJsonFields",
    "selectorHeader",
];

/// The variables of one deployment.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables(BTreeMap<String, String>);

/// What a deployment's variables are made of.
pub(super) struct Given<'a> {
    pub(super) names: &'a Names,
    pub(super) spec: &'a DeploySpec,
    pub(super) service: &'a ServiceSpec,
    pub(super) port: u16,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) properties: &'a BTreeMap<String, String>,
}

impl Variables {
    pub(super) fn of(given: &Given<'_>) -> Self {
        let (names, spec, service) = (given.names, given.spec, given.service);
        let selector = BTreeMap::from([(super::names::OWNER.to_owned(), names.owner.clone())]);
        let mut all = BTreeMap::new();
        let mut set = |name: &str, text: String| drop(all.insert(name.to_owned(), text));
        set("namePrefix", "slipway".to_owned());
        set("executionId", names.base.trim_start_matches("slipway-").to_owned());
        set("k8sDeploymentId", names.base.clone());
        set("exposedPort", given.port.to_string());
        let ids = [
            ("DeploymentId", "apiDeploymentId", spec.deployment.as_str()),
            ("InfraId", "infraId", spec.infrastructure.id.as_str()),
            ("PublishedServiceId", "publishedServiceId", service.published_service_id.as_str()),
            ("DeployedServiceId", "deployedServiceId", service.service_id.as_str()),
        ];
        for (friendly, name, id) in ids {
            set(name, id.to_owned());
            set(&format!("k8sFriendly{friendly}"), slug(id, 63));
        }
        set("k8sFriendlyApiDeploymentId", slug(&spec.deployment, 63));
        set("apiDeployerDeploymentId", spec.deployment.clone());
        for (name, map) in [("labels", given.labels), ("annotations", given.annotations), ("selector", &selector)] {
            let object = json!(map).to_string();
            set(&format!("{name}JsonFields"), object[1..object.len() - 1].to_owned());
            set(name, object);
            let pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
            set(&format!("{name}Header"), pairs.join(","));
        }
        for (name, value) in given.properties {
            set(&format!("deployment:{name}"), value.clone());
        }
        Self(all)
    }

    /// `text` with its variables replaced. What replaces one is not read again.
    pub(super) fn replace(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or("has a ${ without its }")?;
            let value =
                self.0.get(name).ok_or_else(|| format!("uses the variable {}, which there is not", shown(name)))?;
            out.push_str(before);
            out.push_str(value);
            rest = behind;
            if out.len() > MOST_BYTES {
                return Err(format!("has more than {MOST_BYTES} bytes once its variables are replaced"));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The same in every value of a map.
    pub(super) fn replace_all(&self, map: &BTreeMap<String, String>) -> Result<Map<String, Value>, String> {
        map.iter().map(|(key, text)| Ok((key.clone(), Value::String(self.replace(text)?)))).collect()
    }

    /// Those of a deployment that is none, to find what is wrong with a text that an administrator has typed.
    pub(super) fn trial(text: &str, names: &Names) -> Self {
        let properties = names_in(text).filter(|name| name.starts_with("deployment:"));
        let of = |name: &str| match name {
            "executionId" => names.base.trim_start_matches("slipway-").to_owned(),
            "k8sDeploymentId" => names.base.clone(),
            "exposedPort" => "12000".to_owned(),
            "labels" | "annotations" | "selector" => r#"{"trial":"x"}"#.to_owned(),
            fields if fields.ends_with("JsonFields") => r#""trial":"x""#.to_owned(),
            _ => "trial".to_owned(),
        };
        Self(FIXED.iter().copied().chain(properties).map(|name| (name.to_owned(), of(name))).collect())
    }

    fn is_known(name: &str) -> bool {
        FIXED.contains(&name) || name.strip_prefix("deployment:").is_some_and(|name| !name.is_empty())
    }

    /// The first variable in a text that there can't be.
    pub(super) fn unknown_in(text: &str) -> Option<String> {
        names_in(text).find(|name| !Self::is_known(name)).map(shown)
    }
}

/// The names of the variables that a text uses.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).map(|after| after.split_once('}').map_or(after, |(name, _)| name))
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_substitution() {
        let all = Variables(BTreeMap::from([("a".into(), "${b}".into()), ("b".into(), "2".into())]));
        assert_eq!(all.replace("x ${a}${b} $c {d}").unwrap(), "x ${b}2 $c {d}");
        assert!(all.replace("${c}").unwrap_err().contains("variable c"));
        assert!(all.replace("${a").unwrap_err().contains("without its }"));
        let long = Variables(BTreeMap::from([("a".into(), "x".repeat(10_000))]));
        assert!(long.replace(&"${a}".repeat(100)).unwrap_err().contains("more than"));
        assert_eq!(Variables::unknown_in("${labels} ${deployment:x} ${nope} ${deployment:}"), Some("nope".to_owned()));
    }
}
