//! Who asks. Every function of this crate takes one, and refuses before it reads.

use std::collections::BTreeSet;

/// The group whose members are global administrators.
pub const ADMINISTRATORS: &str = "administrators";

/// An authenticated user, with the groups that it is in right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The login.
    pub login: String,
    /// What people read.
    pub display_name: String,
    /// Group names.
    pub groups: BTreeSet<String>,
    /// The key that was used, by its id.
    pub key_id: Option<String>,
    /// Where the request came from, for the audit.
    pub origin: Origin,
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Which way.
    pub via: Via,
    /// The client's address, as the API sees it: behind a load balancer that is the balancer's.
    pub address: Option<String>,
    /// The number under which the request is logged.
    pub request_id: Option<String>,
    /// The login of the global administrator who acts in the viewer's place.
    pub acting: Option<String>,
}

/// Which way a request came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Via {
    /// Inside the process.
    #[default]
    Internal,
    /// GraphQL.
    GraphQl,
    /// The Dataiku-compatible REST, and bundles over HTTP.
    Rest,
    /// A worker, for an update.
    Worker,
    /// `slipway admin` and the like, straight on the database.
    CommandLine,
}

impl Via {
    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "INTERNAL",
            Self::GraphQl => "GRAPHQL",
            Self::Rest => "REST",
            Self::Worker => "WORKER",
            Self::CommandLine => "COMMAND_LINE",
        }
    }
}

impl Viewer {
    /// A global administrator: every right on everything, and alone allowed to create infrastructures and change pools.
    pub fn is_admin(&self) -> bool {
        self.groups.contains(ADMINISTRATORS)
    }
}
