//! The two halves of Slipway, as commands name them: bundles of projects, and versions of API services.

use serde_json::Value;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Bundles of published projects.
    Project,
    /// Versions of published API services.
    Service,
}

impl Half {
    /// By the `kind` of a deployment or an update.
    pub(crate) fn of(one: &Value) -> Self {
        if one["kind"] == "API" { Self::Service } else { Self::Project }
    }

    /// What is deployed.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Project => "bundle",
            Self::Service => "version",
        }
    }

    /// What it belongs to.
    pub(crate) fn parent(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Service => "service",
        }
    }

    /// Where its packages are uploaded, and under which parameter that names the parent.
    pub(crate) fn uploads(self) -> (&'static str, &'static str) {
        match self {
            Self::Project => ("/bundles", "projectKey"),
            Self::Service => ("/service-versions", "serviceId"),
        }
    }

    /// The field of a package that names it.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Project => "bundleId",
            Self::Service => "version",
        }
    }
}
