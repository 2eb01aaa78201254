//! The rights that the credentials need in the namespace, one by one. docs/targets/K8S.md has the Role; a test holds both together.

use std::fmt;

use super::{
    manifests::Goal,
    settings::{ExpositionType, Settings},
};

/// One right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    pub(super) verb: &'static str,
    pub(super) group: &'static str,
    /// With its subresource, such as `services/proxy`.
    pub(super) resource: &'static str,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() { "the core API" } else { self.group };
        write!(f, "{} {} ({group})", self.verb, self.resource)
    }
}

/// What is made, and found again by its label. A patch that makes an object needs the right to create it, too.
const MAKE: &[&str] = &["get", "list", "create", "patch", "delete"];

const ALWAYS: &[(&[&str], &str, &str)] = &[
    (MAKE, "apps", "deployments"),
    (MAKE, "", "services"),
    (MAKE, "", "configmaps"),
    (MAKE, "", "secrets"),
    (MAKE, "autoscaling", "horizontalpodautoscalers"),
    (MAKE, "policy", "poddisruptionbudgets"),
    (&["list"], "", "pods"),
    (&["create"], "", "services/proxy"),
];
/// Verbs, an API group, a resource.
type Needed = (&'static [&'static str], &'static str, &'static str);

const INGRESSES: Needed = (MAKE, "networking.k8s.io", "ingresses");
const ACCOUNTS: Needed = (&["get"], "", "serviceaccounts");
const OWN_YAML: &[(&str, Needed)] = &[
    ("Ingress", INGRESSES),
    ("NetworkPolicy", (MAKE, "networking.k8s.io", "networkpolicies")),
    ("HTTPRoute", (MAKE, "gateway.networking.k8s.io", "httproutes")),
];

fn each(all: impl IntoIterator<Item = (&'static [&'static str], &'static str, &'static str)>) -> Vec<Right> {
    let each = all
        .into_iter()
        .flat_map(|(verbs, group, resource)| verbs.iter().map(move |verb| Right { verb, group, resource }));
    each.collect()
}

/// For this deployment.
pub(super) fn of(goal: &Goal<'_>) -> Vec<Right> {
    let named = goal.workload.service_account_name.as_deref().is_some_and(|name| !name.is_empty());
    let text = goal.exposition.params.yaml.as_deref();
    with(goal.exposition.kind, text, named)
}

/// For these kinds beside the usual ones.
pub(super) fn of_kinds(kinds: &[String]) -> Vec<Right> {
    each(OWN_YAML.iter().filter(|(name, _)| kinds.iter().any(|kind| kind == name)).map(|(_, right)| *right))
}

/// For this infrastructure, before a deployment says anything.
pub(super) fn of_settings(settings: &Settings) -> Vec<Right> {
    let exposition = settings.default_service_exposition.clone().unwrap_or_default();
    let named = settings.workload.service_account_name.as_deref().is_some_and(|name| !name.is_empty());
    with(exposition.kind, exposition.params.yaml.as_deref(), named)
}

fn with(kind: ExpositionType, yaml: Option<&str>, account: bool) -> Vec<Right> {
    let mut all: Vec<_> = ALWAYS.to_vec();
    match kind {
        ExpositionType::Ingress => all.push(INGRESSES),
        ExpositionType::Yaml => {
            let text = yaml.unwrap_or_default();
            all.extend(OWN_YAML.iter().filter(|(name, _)| text.contains(name)).map(|(_, right)| *right));
        }
        _ => {}
    }
    if account {
        all.push(ACCOUNTS);
    }
    each(all)
}

/// The versions of APIs without which nothing can be made.
pub(super) fn versions(goal: &Goal<'_>) -> Vec<&'static str> {
    let ingress = (goal.exposition.kind == ExpositionType::Ingress).then_some("networking.k8s.io/v1");
    ["apps/v1", "authorization.k8s.io/v1"].into_iter().chain(ingress).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_in_the_docs_gives_exactly_these() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/targets/K8S.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, after) = page.split_once("<!-- role -->\n```yaml\n").unwrap();
        let role = super::super::yaml::documents(after.split_once("```").unwrap().0).unwrap().remove(0);
        let list =
            |rule: &serde_json::Value, key: &str| -> Vec<String> { serde_json::from_value(rule[key].clone()).unwrap() };
        let mut given = Vec::new();
        for rule in role["rules"].as_array().unwrap() {
            for group in list(rule, "apiGroups") {
                for resource in list(rule, "resources") {
                    given.extend(list(rule, "verbs").into_iter().map(|verb| format!("{verb} {group} {resource}")));
                }
            }
        }
        let all = ALWAYS.iter().copied().chain([INGRESSES, ACCOUNTS]);
        let mut needed: Vec<_> =
            each(all).iter().map(|one| format!("{} {} {}", one.verb, one.group, one.resource)).collect();
        given.sort();
        needed.sort();
        assert_eq!(given, needed);
    }
}
