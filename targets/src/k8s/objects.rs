//! Which object of the API: its kind and its name.

use std::fmt;

use serde_json::Value;

/// A kind in one version of its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// Such as `apps/v1`, or `v1`.
    pub(super) version: String,
    /// Such as `Deployment`.
    pub(super) name: String,
    /// Such as `deployments`.
    pub(super) plural: &'static str,
}

/// One object of the namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) kind: Kind,
    pub(super) name: String,
}

/// Every kind that we make or read, its plural and its group.
const KINDS: &[(&str, &str, &str)] = &[
    ("Deployment", "deployments", "apps"),
    ("Service", "services", ""),
    ("ConfigMap", "configmaps", ""),
    ("Secret", "secrets", ""),
    ("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling"),
    ("PodDisruptionBudget", "poddisruptionbudgets", "policy"),
    ("Ingress", "ingresses", "networking.k8s.io"),
    ("NetworkPolicy", "networkpolicies", "networking.k8s.io"),
    ("HTTPRoute", "httproutes", "gateway.networking.k8s.io"),
    ("Pod", "pods", ""),
    ("ServiceAccount", "serviceaccounts", ""),
];

impl Kind {
    /// The kind of this name in this version of its group; None if we don't deal with it.
    pub(super) fn new(version: &str, name: &str) -> Option<Self> {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let (_, plural, _) = KINDS.iter().find(|(known, _, of)| *known == name && *of == group)?;
        Some(Self { version: version.to_owned(), name: name.to_owned(), plural })
    }

    /// Its group; empty for the core's.
    pub(super) fn group(&self) -> &str {
        self.version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The path of all its objects in a namespace.
    pub(super) fn path(&self, namespace: &str) -> Vec<String> {
        let mut path: Vec<String> = match self.version.split_once('/') {
            Some((group, version)) => vec!["apis".into(), group.into(), version.into()],
            None => vec!["api".into(), self.version.clone()],
        };
        path.extend(["namespaces".to_owned(), namespace.to_owned(), self.plural.to_owned()]);
        path
    }

    /// The object of this kind and name.
    pub(super) fn named(&self, name: &str) -> Id {
        Id { kind: self.clone(), name: name.to_owned() }
    }
}

impl Id {
    /// Whose manifest, or object, this is.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        Some(Kind::new(text("/apiVersion")?, text("/kind")?)?.named(text("/metadata/name")?))
    }

    pub(super) fn path(&self, namespace: &str) -> Vec<String> {
        let mut path = self.kind.path(namespace);
        path.push(self.name.clone());
        path
    }

    /// Whether both are the same object, in whatever version of its group.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.kind.plural, self.kind.group(), &self.name) == (other.kind.plural, other.kind.group(), &other.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.name, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let path = |version: &str, kind: &str| Kind::new(version, kind).unwrap().named("a").path("n").join("/");
        assert_eq!(path("v1", "Service"), "api/v1/namespaces/n/services/a");
        assert_eq!(path("apps/v1", "Deployment"), "apis/apps/v1/namespaces/n/deployments/a");
        assert_eq!(Kind::new("v1", "Deployment"), None);
        assert_eq!(Kind::new("rbac.authorization.k8s.io/v1", "Role"), None);
        let (old, new) =
            (Kind::new("policy/v1beta1", "PodDisruptionBudget"), Kind::new("policy/v1", "PodDisruptionBudget"));
        assert!(old.unwrap().named("a").is(&new.unwrap().named("a")));
    }
}
