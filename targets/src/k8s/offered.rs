//! Which versions of the API a server offers, and which of them we write.

use super::objects::Kind;

/// The group versions of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered(Vec<String>);

impl Offered {
    pub(super) fn new(versions: Vec<String>) -> Self {
        Self(versions)
    }

    pub(super) fn has(&self, version: &str) -> bool {
        version == "v1" || self.0.iter().any(|one| one == version)
    }

    fn first(&self, versions: &[&'static str]) -> Option<&'static str> {
        versions.iter().find(|version| self.has(version)).copied()
    }

    /// `policy/v1` from 1.21 on.
    pub(super) fn policy(&self) -> Option<&'static str> {
        self.first(&["policy/v1", "policy/v1beta1"])
    }

    /// `autoscaling/v2` from 1.23 on. `autoscaling/v1` knows no target but CPU. One server has one version, whatever the targets: what one version has set,
    /// another does not take away.
    pub(super) fn autoscaling(&self, memory: bool) -> Option<&'static str> {
        self.first(&["autoscaling/v2", "autoscaling/v2beta2", "autoscaling/v1"])
            .filter(|version| !memory || *version != "autoscaling/v1")
    }

    /// The kinds that updates may have made, in the versions of this server.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let of = |version: Option<&str>, kind: &str| version.and_then(|version| Kind::new(version, kind));
        let there = |version: &'static str| Some(version).filter(|version| self.has(version));
        [
            of(self.autoscaling(false), "HorizontalPodAutoscaler"),
            of(there("networking.k8s.io/v1"), "Ingress"),
            of(there("gateway.networking.k8s.io/v1"), "HTTPRoute"),
            of(there("networking.k8s.io/v1"), "NetworkPolicy"),
            of(Some("v1"), "Service"),
            of(self.policy(), "PodDisruptionBudget"),
            of(Some("apps/v1"), "Deployment"),
            of(Some("v1"), "ConfigMap"),
            of(Some("v1"), "Secret"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Kinds that not every infrastructure makes, and for which it needs no rights then.
pub(super) fn is_optional(kind: &Kind) -> bool {
    matches!(kind.name.as_str(), "HTTPRoute" | "NetworkPolicy" | "Ingress")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_by_server() {
        let server = |all: &[&str]| Offered::new(all.iter().map(|one| (*one).to_owned()).collect());
        let old =
            server(&["apps/v1", "autoscaling/v1", "autoscaling/v2beta2", "policy/v1beta1", "networking.k8s.io/v1"]);
        assert_eq!((old.policy(), old.autoscaling(false)), (Some("policy/v1beta1"), Some("autoscaling/v2beta2")));
        assert_eq!(
            (server(&["autoscaling/v1"]).autoscaling(false), server(&["autoscaling/v1"]).autoscaling(true)),
            (Some("autoscaling/v1"), None)
        );
        assert_eq!(old.autoscaling(true), Some("autoscaling/v2beta2"));
        let new = server(&["autoscaling/v1", "autoscaling/v2", "policy/v1"]);
        assert_eq!((new.policy(), new.autoscaling(true)), (Some("policy/v1"), Some("autoscaling/v2")));
        assert!(
            new.kinds().iter().all(|kind| kind.name != "Ingress")
                && old.kinds().iter().any(|kind| kind.name == "Ingress")
        );
        assert_eq!(server(&[]).policy(), None);
    }
}
