//! What one run deploys, as the deployer froze it and every target reads it. No secret and no code in here: references only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TargetType;
pub use crate::{
    secret_ref::SecretRef,
    service::{Auditing, Authorization, ConnectionSpec, EndpointSpec, OAuth2, ServiceSpec, ServiceVersionSpec},
};

fn is_automation_node(kind: &TargetType) -> bool {
    *kind == TargetType::AutomationNode
}

/// The body of a run's spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploySpec {
    /// The deployment's id.
    pub deployment: String,
    /// Which installation of Slipway it is of; empty in a spec of an earlier version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub installation: String,
    /// Where to.
    pub infrastructure: InfrastructureSpec,
    /// What.
    pub package: PackageSpec,
    /// The project key on the node.
    pub deployed_project_key: String,
    /// The folder on the node that the project lies in: a new one is created there, another one is moved there. None: a new one in the root, another one where it lies.
    #[serde(default)]
    pub project_folder: Option<String>,
    /// The deployment's own copy of the remappings.
    #[serde(default)]
    pub connection_remapping: Vec<ConnectionRemapping>,
    /// Of code envs; None leaves the node's alone (a spec of an earlier version).
    #[serde(default)]
    pub code_env_remapping: Option<Vec<Remapping>>,
    /// Of container configurations; None leaves the node's alone (a spec of an earlier version).
    #[serde(default)]
    pub container_exec_remapping: Option<Vec<Remapping>>,
    /// How the node imports the bundle's code envs; None leaves the node's own way alone.
    #[serde(default)]
    pub code_envs_behavior: Option<CodeEnvsBehavior>,
    /// Written to the node as the project's local variables; None leaves the node's alone.
    #[serde(default)]
    pub local_variables: Option<Map<String, Value>>,
    /// Per scenario id: on or off. A scenario that is not named is left alone.
    #[serde(default)]
    pub scenarios: BTreeMap<String, bool>,
    /// Every scenario is off, whatever `scenarios` says and whatever was on before.
    #[serde(default)]
    pub disable_automatic_triggers: bool,
    /// The login as whom changes are made on the node: the infrastructure's deploy-as user, else the requester.
    pub acting_user: String,
    /// What is deployed of an API service; None for a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<ServiceSpec>>,
}

impl DeploySpec {
    /// What tells this deployment's work on a platform from all others', also from that of another installation with the same ids.
    pub(crate) fn owner(&self) -> String {
        if self.installation.is_empty() {
            self.deployment.clone()
        } else {
            format!("{}/{}", self.installation, self.deployment)
        }
    }

    /// How this scenario is switched; None leaves it alone.
    pub fn switch(&self, scenario: &str) -> Option<bool> {
        if self.disable_automatic_triggers { Some(false) } else { self.scenarios.get(scenario).copied() }
    }

    /// The same for one of several nodes; None when there is none of this name. Without a name: the only node.
    pub fn on(&self, node: Option<&str>) -> Option<Self> {
        let found = self.infrastructure.places().into_iter().find(|place| place.name == node)?.node.clone();
        let infrastructure = InfrastructureSpec { node: found, nodes: Vec::new(), ..self.infrastructure.clone() };
        Some(Self { infrastructure, ..self.clone() })
    }
}

/// A node, by the name that it has where there are several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodePlace<'a> {
    /// None: it is the only one.
    pub name: Option<&'a str>,
    /// How it is reached.
    pub node: &'a NodeSpec,
}

impl InfrastructureSpec {
    /// Its nodes, in the order in which they are activated: one at least.
    pub fn places(&self) -> Vec<NodePlace<'_>> {
        if self.nodes.is_empty() {
            return vec![NodePlace { name: None, node: &self.node }];
        }
        self.nodes.iter().map(|one| NodePlace { name: Some(&one.name), node: &one.node }).collect()
    }
}

/// One of several nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedNode {
    /// Unique within the infrastructure.
    pub name: String,
    /// How it is reached.
    #[serde(flatten)]
    pub node: NodeSpec,
}

/// The infrastructure's settings at the time of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InfrastructureSpec {
    /// Its id.
    pub id: String,
    /// The platform.
    #[serde(default, skip_serializing_if = "is_automation_node")]
    pub kind: TargetType,
    /// What its target wants to know, as its settings schema describes it; secrets by reference ([`SecretRef`]). Empty for an Automation node.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// The connection that it reaches its platform with, where its target uses one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionSpec>,
    /// The node behind it; the first one, where there are several. Of a platform without nodes only the limits of calls are meant.
    #[serde(default)]
    pub node: NodeSpec,
    /// All nodes behind it, in the order in which they are activated; empty when there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NamedNode>,
    /// Applied by the run that creates the project on the node.
    pub permissions_propagation: PermissionsPropagation,
    /// The run-as user of every scenario; None leaves them as the bundle says.
    #[serde(default)]
    pub run_as_scenarios: Option<String>,
    /// The run-as user of every web app; None leaves them as the bundle says.
    #[serde(default)]
    pub run_as_webapps: Option<String>,
    /// A bundle id that the node has, and that this run or an earlier one of ours did not import, is taken for ours.
    #[serde(default)]
    pub trust_foreign_bundles: bool,
    /// What the governance source's answer means.
    #[serde(default)]
    pub govern_check_policy: GovernCheckPolicy,
    /// Whom to ask about bundles; None asks nobody.
    #[serde(default)]
    pub governance: Option<GovernanceSource>,
    /// What the project standards report in the bundle means.
    #[serde(default)]
    pub project_standards_policy: ProjectStandardsPolicy,
}

/// An HTTP endpoint that answers for a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GovernanceSource {
    /// Its URL, http or https.
    pub url: String,
    /// Reference to its key's immutable version; None asks without one.
    #[serde(default)]
    pub key: Option<String>,
}

/// What becomes of a bundle that its governance source does not approve of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GovernCheckPolicy {
    /// No update asks.
    #[default]
    NoCheck,
    /// It is told: a new or changed deployment is refused unless warnings are ignored, and updates end with a warning.
    Warn,
    /// An update fails if the source answers an error, or can't be asked; a warning is told.
    Prevent,
}

/// What becomes of a bundle whose project standards report names a problem, or that has no report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProjectStandardsPolicy {
    /// The report is not looked at.
    #[default]
    Ignore,
    /// It is told: a new or changed deployment is refused unless warnings are ignored, and updates end with a warning.
    Warn,
    /// An update fails if a check found something, could not be run, or if there is no report.
    Prevent,
}

/// One Automation node, or API node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Base URL, http or https; empty where the platform has no nodes.
    pub url: String,
    /// Reference to the administrator key's immutable version.
    pub key: String,
    /// Accept any certificate.
    #[serde(default)]
    pub trust_all_certificates: bool,
    /// The name of a web app's run-as field in the node's JSON.
    pub webapp_run_as_field: String,
    /// How long a blocking call may go on at the node after we lost its answer, in milliseconds. Until then it is not repeated.
    pub settle_ms: u64,
    /// A blocking call (import, preload, activate) may take this long, in milliseconds.
    pub call_timeout_ms: u64,
}

/// One immutable package, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageSpec {
    /// The published project.
    pub project_key: String,
    /// The bundle's id.
    pub bundle_id: String,
    /// SHA-256 of the archive, lower-case hex.
    pub sha256: String,
    /// Size of the archive in bytes.
    pub size: u64,
}

/// `source` in the bundle becomes `target` on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remapping {
    /// The name in the bundle.
    pub source: String,
    /// The name on the node.
    pub target: String,
}

/// The remapping of a connection.
pub type ConnectionRemapping = Remapping;

/// How a node imports the code envs of a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CodeEnvsBehavior {
    /// What happens to a code env that the node lacks.
    pub import_time_mode: ImportTimeMode,
    /// After which description it is made.
    pub env_import_specification_mode: EnvImportSpecificationMode,
}

/// What happens to a code env that the node lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImportTimeMode {
    /// The node makes it.
    #[default]
    InstallIfMiss,
    /// The import fails.
    FailIfMiss,
    /// Nothing.
    DoNothing,
}

/// After which description a code env is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EnvImportSpecificationMode {
    /// The packages that its maker asked for.
    #[default]
    Specified,
    /// The packages, with their versions, that the design node had.
    Actual,
}

/// What of the design project's rights a new project on the node gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PermissionsPropagation {
    /// The deploying user owns it; nothing else.
    #[default]
    None,
    /// Users and groups of the design project may read.
    Limited,
    /// The design project's rights.
    Full,
}

/// What a bundle holds, as far as a target must know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BundleContents {
    /// The project that the bundle was made of: a node creates a project from the bundle under this key. None: as the published project's.
    #[serde(default)]
    pub project_key: Option<String>,
    /// The connections that it uses.
    #[serde(default)]
    pub connections: Vec<BundleConnection>,
    /// Its scenarios.
    #[serde(default)]
    pub scenarios: Vec<BundleScenario>,
    /// Its web apps.
    #[serde(default)]
    pub webapps: Vec<BundleWebApp>,
    /// The names of the code envs that it uses.
    #[serde(default)]
    pub code_envs: Vec<String>,
    /// The design project's permission items, as the node's API spells them (`group` or `user`, then booleans).
    #[serde(default)]
    pub permissions: Vec<Map<String, Value>>,
    /// Read by inference, not from a manifest: connections may be missing from the list.
    #[serde(default)]
    pub inferred: bool,
}

/// A connection that a bundle uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleConnection {
    /// Its name in the bundle.
    pub name: String,
    /// Its type, such as `PostgreSQL`; None when the bundle does not say (then only the name is demanded on the node).
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// What uses it, for the message.
    #[serde(default)]
    pub used_by: Vec<String>,
}

/// A scenario in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleScenario {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether its triggers are on in the design project.
    #[serde(default)]
    pub active: bool,
}

/// A web app in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleWebApp {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
}
