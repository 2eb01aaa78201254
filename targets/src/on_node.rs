//! What a node shows of a deployed project, for its health. Found by reading alone, and bounded.

use std::collections::BTreeMap;

use engine::failure::Code;
use serde::{Deserialize, Serialize};

use crate::target::VersionShare;

/// A deployed project, as its node shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnNode {
    /// Whether the project is there.
    pub exists: bool,
    /// The active bundle.
    pub active_bundle: Option<String>,
    /// Its scenarios, at most [`MOST_SCENARIOS`], those that are on first.
    pub scenarios: Vec<ScenarioOnNode>,
    /// So many scenarios more were not asked about.
    pub more_scenarios: usize,
    /// Its web apps, at most [`MOST_WEBAPPS`].
    pub webapps: Vec<WebAppOnNode>,
    /// What there is of an API service; None for a project.
    pub service: Option<OnService>,
}

/// An API service, as its platform shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnService {
    /// Whether it takes queries.
    pub enabled: bool,
    /// Its versions and their shares.
    pub versions: Vec<VersionShare>,
    /// Where it is called: base URLs, without the API's path; where the platform has a gate of its own, whole addresses.
    pub urls: Vec<String>,
    /// What the platform says of it that is not well; empty is well.
    pub troubles: Vec<ServiceTrouble>,
}

/// Something that a platform says of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTrouble {
    /// It takes no queries, or not all. Else it is on its way, or to be looked at.
    pub is_error: bool,
    /// A failure code.
    pub code: Code,
    /// The sentence.
    pub message: String,
}

/// The runs of so many scenarios are asked about in one look.
pub const MOST_SCENARIOS: usize = 200;
/// So many web apps are asked about in one look.
pub const MOST_WEBAPPS: usize = 50;

/// A scenario of a deployed project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioOnNode {
    /// Its id.
    pub id: String,
    /// What people read; its id when it has no name.
    pub name: String,
    /// Its triggers are on.
    pub active: bool,
    /// A run of it is under way.
    pub running: bool,
    /// Its newest run that has ended.
    pub last: Option<LastRun>,
}

/// A run of a scenario that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// How.
    pub outcome: Outcome,
    /// When it began, in milliseconds of the node's clock, if the node says so.
    pub started_ms: Option<i64>,
}

/// How a run of a scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// It did what it should.
    Success,
    /// It did, and warns.
    Warning,
    /// It did not.
    Failed,
    /// Somebody stopped it.
    Aborted,
}

impl Outcome {
    /// The node's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Warning => "WARNING",
            Self::Failed => "FAILED",
            Self::Aborted => "ABORTED",
        }
    }

    /// Reads the node's word; an unknown one is a failure: somebody should look.
    pub fn read(word: &str) -> Self {
        match word {
            "SUCCESS" => Self::Success,
            "WARNING" => Self::Warning,
            "ABORTED" => Self::Aborted,
            _ => Self::Failed,
        }
    }
}

/// A web app of a deployed project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebAppOnNode {
    /// Its id.
    pub id: String,
    /// Its backend runs.
    pub running: bool,
}

/// How test scenarios ended last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestingStatus {
    /// So many ran.
    pub ran: u64,
    /// How many by outcome, in the node's words.
    pub per_outcome: BTreeMap<String, u64>,
}

/// What came of running the test scenarios.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestRun {
    /// Those that ended.
    pub status: TestingStatus,
    /// The names of those that did not in time: they go on at the node.
    pub unfinished: Vec<String>,
}
