//! One platform, seen by the steps of a run.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use engine::{
    failure::{Failure, StepError, StepResult},
    packages::PackageStore,
    secrets::Secret,
    step::StepContext,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    on_node::{OnNode, TestRun, TestingStatus},
    spec::{BundleContents, DeploySpec, EndpointSpec, InfrastructureSpec, NamedNode, NodeSpec, Remapping},
};

/// What a target works with during one attempt at one step.
pub struct Work<'a> {
    /// What is deployed, where to.
    pub spec: &'a DeploySpec,
    /// What the package holds.
    pub contents: &'a BundleContents,
    /// Where the package's bytes lie.
    pub packages: &'a PackageStore,
    /// Our own record of what was imported where.
    pub imports: &'a dyn ImportLedger,
    /// The run: notes, log, clock, secrets.
    pub run: &'a dyn StepContext,
}

/// Which node imported which package, across runs: a package id on a node is ours only if this says so.
#[async_trait]
pub trait ImportRecords: Send + Sync {
    /// The record of this id on this node's project, if there is one. `node_url` is [`crate::http::NodeUrl::as_str`] everywhere.
    async fn find(&self, node_url: &str, project_key: &str, bundle_id: &str) -> Result<Option<Import>, StepError>;
}

/// The same, and writing them: for a run.
#[async_trait]
pub trait ImportLedger: ImportRecords {
    /// Notes the intent before the call, and binds the package's id to its SHA-256 for good. Repeating it is harmless.
    async fn intend(&self, node_url: &str, project_key: &str, bundle_id: &str, sha256: &str) -> Result<(), StepError>;

    /// Binds a package's own id to its SHA-256 for good, where it is sent under another name. A ledger that keeps no bindings does nothing.
    async fn bind(&self, package_id: &str, sha256: &str) -> Result<(), StepError> {
        let _ = (package_id, sha256);
        Ok(())
    }

    /// Takes an intent back: the call ended, and the node does not have it. What was confirmed, or meant another content, stays, and so does the binding.
    async fn withdraw(&self, node_url: &str, project_key: &str, bundle_id: &str, sha256: &str)
    -> Result<(), StepError>;

    /// Notes that the node has it.
    async fn confirm(&self, node_url: &str, project_key: &str, bundle_id: &str, sha256: &str) -> Result<(), StepError>;
}

/// One record of the [`ImportLedger`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// What we sent, or meant to send.
    pub sha256: String,
    /// The node was seen to have it.
    pub confirmed: bool,
    /// When the intent, or the confirmation, was last noted, by the database's clock: a call of an earlier run may still go on at the node.
    pub at: i64,
}

/// Opens secrets by the references that specs hold, for reading outside a run.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The secret of this reference.
    async fn open(&self, reference: &str) -> Result<Secret, Failure>;
}

/// Secrets as they were just entered. Those that were stored earlier are not among them: their references stand in the settings.
#[derive(Clone, Copy, Debug)]
pub struct Entered<'a>(pub &'a [(String, Secret)]);

impl<'a> Entered<'a> {
    /// The secret that was entered here: a JSON pointer (RFC 6901) into the settings.
    pub fn at(&self, pointer: &str) -> Option<&'a Secret> {
        self.0.iter().find(|(at, _)| at == pointer).map(|(_, secret)| secret)
    }
}

/// What a target reads with, outside a run: a spec of one place, and what opens its secrets.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// What is, or would be, deployed, and where.
    pub spec: &'a DeploySpec,
    /// What a bundle holds; empty for an API service, whose spec says all.
    pub contents: &'a BundleContents,
    /// Opens the secrets that the spec names.
    pub secrets: &'a dyn Secrets,
    /// What Slipway itself brought to nodes.
    pub imports: &'a dyn ImportRecords,
}

/// What can be deployed to a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Half {
    /// Bundles of projects.
    Project,
    /// Versions of API services.
    Api,
}

/// What a platform is, for people and forms.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// What people read: "Kubernetes".
    pub label: &'static str,
    /// What can be deployed to it.
    pub half: Half,
    /// The JSON Schema (draft 2020-12) of an infrastructure's settings. `writeOnly` marks secrets; `x-place` marks properties that say where the secrets of
    /// the same object are sent: whoever changes one must enter those secrets again, and where the object is marked `x-home`, every secret. `x-fixed`, at the top, marks what says where deployments live: it stays as it
    /// is once one was updated.
    pub settings: &'static str,
    /// The JSON Schema of what a deployment may set.
    pub deployment: &'static str,
    /// The type of connection that it reaches its platform with; None where its settings say all.
    pub connection: Option<&'static str>,
    /// Whether it serves one endpoint of a service only, so that a deployment must choose one.
    pub one_endpoint: bool,
}

/// The schema of settings that nobody can set anything in.
pub const NO_SETTINGS: &str = r#"{"type": "object", "properties": {}, "additionalProperties": false}"#;

/// A platform. Every step looks, acts, looks again, and may be attempted twice at any point.
#[async_trait]
pub trait Target: Send + Sync {
    /// What it is.
    fn describe(&self) -> Description;

    /// The nodes that these settings name, each a lane of an update; empty where the platform has no nodes, or where the infrastructure's own fields name them.
    /// The settings are such as the schema lets through.
    fn nodes(settings: &Map<String, Value>) -> Vec<NamedNode>
    where
        Self: Sized,
    {
        let _ = settings;
        Vec::new()
    }

    /// How many nodes must still be able to succeed for an update to go on without one that failed; None is one.
    fn quorum(settings: &Map<String, Value>) -> Option<u32>
    where
        Self: Sized,
    {
        let _ = settings;
        None
    }

    /// What is wrong with settings that the schema lets through, by path.
    fn problems(&self, settings: &Map<String, Value>) -> Vec<(String, String)> {
        let _ = settings;
        Vec::new()
    }

    /// What is wrong with secrets that were just entered, by path: those that are more than a word to be sent, such as a kubeconfig. They are looked at whether other settings use
    /// them or not. No word of a secret is told, but the names in it that say where to look.
    fn unreadable(&self, settings: &Map<String, Value>, entered: Entered<'_>) -> Vec<(String, String)> {
        let _ = (settings, entered);
        Vec::new()
    }

    /// What only platforms for projects do.
    fn projects(&self) -> Option<&dyn Projects> {
        None
    }

    /// What only platforms for API services do.
    fn services(&self) -> Option<&dyn Services> {
        None
    }

    /// Reaches the platform and asks who the key belongs to. Changes nothing.
    async fn check(&self, place: &InfrastructureSpec, secrets: &dyn Secrets) -> Result<NodeReport, Failure>;

    /// What an update would change, found without changing anything.
    async fn preview(&self, look: Look<'_>) -> Result<Preview, Failure>;

    /// How what is deployed is: what is active, what runs. Changes nothing.
    async fn observe(&self, look: Look<'_>) -> Result<OnNode, Failure>;

    /// What is otherwise on the platform than the receipt of an update of this spec says. Changes nothing.
    async fn drift(&self, look: Look<'_>, receipt: &Receipt) -> Result<Vec<Difference>, Failure>;

    /// Step `validate_remap`. Nothing on the platform has changed when it fails.
    async fn validate(&self, work: &Work<'_>) -> StepResult;

    /// Step `push_bundle`: the package gets there. What runs has not changed when it fails.
    async fn push(&self, work: &Work<'_>) -> StepResult;

    /// Step `activate`: the package becomes the one that runs.
    async fn activate(&self, work: &Work<'_>) -> StepResult;

    /// Step `enforce_run_as`: under whose identity it runs, and who may call it.
    async fn enforce(&self, work: &Work<'_>) -> StepResult;

    /// When `enforce_run_as` failed for good under `on_failure: LEAVE`: switches back on what was verified. Answers what stayed off.
    async fn leave_safe(&self, work: &Work<'_>) -> Result<Vec<String>, StepError> {
        let _ = work;
        Ok(Vec::new())
    }

    /// Step `verify`: its output is the [`Receipt`].
    async fn verify(&self, work: &Work<'_>) -> StepResult;

    /// Step `switch_off`: nothing of it runs any more; what ran is noted.
    async fn switch_off(&self, work: &Work<'_>) -> StepResult;

    /// Step `delete_project`: it goes from the platform, with all that its updates made there.
    async fn remove(&self, work: &Work<'_>) -> StepResult;

    /// Puts back what was active before this run, from its notes. Done's output is the [`Receipt`] of what is there now;
    /// an output of null says that nothing was active before, and that everything was left as it is.
    async fn restore(&self, work: &Work<'_>) -> StepResult;

    /// Of the notes of a run that ended after a step of these kinds had begun, and before it was verified: what a step of this kind in the deployment's next run
    /// inherits, even if that is no retry (which inherits all).
    fn inherits(&self, step: &str, note: &dyn Fn(&str) -> Option<Value>) -> Vec<(&'static str, Value)> {
        let _ = (step, note);
        Vec::new()
    }

    /// Whether these notes tell of a call whose end nobody knows: the run can't be ended before somebody looked.
    fn is_in_flight(&self, note: &dyn Fn(&str) -> Option<Value>) -> bool {
        let _ = note;
        false
    }

    /// Whether these notes tell of something that was switched off, and would be left so by a failure.
    fn needs_leaving_safe(&self, note: &dyn Fn(&str) -> Option<Value>) -> bool {
        let _ = note;
        false
    }
}

/// What only platforms for projects do.
#[async_trait]
pub trait Projects: Send + Sync {
    /// How the project's test scenarios ended last, under this bundle if one is named.
    async fn testing_status(
        &self,
        node: &NodeSpec,
        key: &Secret,
        project_key: &str,
        bundle: Option<&str>,
    ) -> Result<TestingStatus, Failure>;

    /// Runs the project's test scenarios as `acting_user`, and waits for their ends. Changes nothing but what they do. May be dropped at any await.
    async fn run_test_scenarios(
        &self,
        node: &NodeSpec,
        key: &Secret,
        acting_user: &str,
        project_key: &str,
        within: Duration,
    ) -> Result<TestRun, Failure>;

    /// Makes a personal key of a user there.
    async fn create_personal_key(
        &self,
        node: &NodeSpec,
        key: &Secret,
        new: NewPersonalKey<'_>,
    ) -> Result<PersonalKey, Failure>;
}

/// What only platforms for API services do.
#[async_trait]
pub trait Services: Send + Sync {
    /// Whether callers come by a gate of the platform's own. It lets in whom it says, whatever a deployment says of keys and tokens, and passes no headers of callers
    /// on.
    fn has_gate(&self) -> bool {
        true
    }

    /// What is wrong with a deployment's own settings that the schema lets through, by path; beside what the infrastructure says. Secrets are references here,
    /// which lead nowhere while they are being entered.
    fn problems(&self, infrastructure: &Map<String, Value>, own: &Map<String, Value>) -> Vec<(String, String)> {
        let _ = (infrastructure, own);
        Vec::new()
    }

    /// How callers ask what is deployed, for a description of it. Nobody is asked, and no credentials are needed.
    ///
    /// # Errors
    /// Where the settings can't be read.
    fn calling(&self, spec: &DeploySpec) -> Result<Calling, Failure> {
        let _ = spec;
        Ok(Calling::ApiNode)
    }

    /// Puts a query to what is deployed, with the deployer's own credentials, and answers what came back whatever the service says of the query.
    async fn query(&self, look: Look<'_>, query: &ServiceQuery) -> Result<ServiceAnswer, Failure>;
}

/// How callers ask a deployed service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Calling {
    /// Each endpoint as on an API node: `URL/public/api/v1/SERVICE/ENDPOINT/VERB`, for each URL of the receipt.
    ApiNode,
    /// The one endpoint that is served, through the platform's own gate, where callers sign in as the platform demands.
    Platform {
        /// Where, from the first slash after the host on.
        path: String,
        /// How queries are wrapped.
        framing: Framing,
    },
}

/// How a platform wraps queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: the body is what an API node takes for the endpoint's type.
    Plain,
    /// Vertex AI's: `{"instances": [query, …]}`, answered by `{"predictions": […]}`.
    Instances,
    /// Snowflake's: `{"data": [[row number, argument, …], …]}`, answered likewise.
    Rows,
}

/// A query of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceQuery {
    /// The endpoint.
    pub endpoint: EndpointSpec,
    /// What the API node's API takes for an endpoint of this type, such as `{"features": {…}}`.
    pub body: Value,
    /// Sent along; checked by the caller. Empty where the platform passes none on ([`Services::has_gate`]).
    pub headers: Vec<(String, String)>,
    /// At most this long.
    pub timeout: Duration,
}

/// What a service said.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body; a text where it is no JSON.
    pub body: Value,
}

/// A personal key to be made on a node.
#[derive(Clone, Copy, Debug)]
pub struct NewPersonalKey<'a> {
    /// Whose: a login on the node.
    pub user: &'a str,
    /// What people call it.
    pub label: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// The secret that we propose.
    pub secret: &'a Secret,
}

/// What came of making a personal key.
#[derive(Clone, Debug)]
pub enum PersonalKey {
    /// It was made.
    Made {
        /// The node's id for it.
        id: Option<String>,
        /// Its secret, in the node's words; None when the node does not tell.
        secret: Option<Secret>,
    },
    /// The node does not know this user.
    UserMissing,
    /// The user is disabled there.
    UserDisabled,
}

/// What `checkInfrastructure` found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node's name for itself.
    pub node_id: Option<String>,
    /// Its type: an Automation node says AUTOMATION.
    pub node_type: Option<String>,
    /// Its version, when it tells.
    pub version: Option<String>,
    /// Whom the key belongs to.
    pub identity: String,
    /// Whether the key is an administrator's there.
    pub is_admin: bool,
    /// What is wrong, if anything, each a sentence.
    pub problems: Vec<String>,
}

/// What an update would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The bundle that is active now; None when the project is not there, or has none.
    pub active_bundle: Option<String>,
    /// The bundle that would be active.
    pub bundle: String,
    /// Whether the project would be created.
    pub creates_project: bool,
    /// Each connection of the bundle, and what becomes of it.
    pub connections: Vec<ConnectionPreview>,
    /// Each code env of the bundle, and what becomes of it.
    #[serde(default)]
    pub code_envs: Vec<CodeEnvPreview>,
    /// Remappings, and the import of code envs, that would change.
    #[serde(default)]
    pub remapping: Vec<Difference>,
    /// Run-as users that would change.
    pub run_as: Vec<Difference>,
    /// Scenario switches that would change.
    pub scenarios: Vec<Difference>,
    /// What else would change: of an API service, all of it.
    #[serde(default)]
    pub changes: Vec<Difference>,
    /// What would stop the update.
    pub problems: Vec<Problem>,
}

/// One connection of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionPreview {
    /// Its name in the bundle.
    pub source: String,
    /// Its name on the node.
    pub target: String,
    /// The type that the bundle wants.
    pub wanted_type: Option<String>,
    /// The type found on the node; None when there is no such connection.
    pub found_type: Option<String>,
}

/// One code env of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeEnvPreview {
    /// Its name in the bundle.
    pub source: String,
    /// Its name on the node.
    pub target: String,
    /// Whether the node has it; None when the node was not asked, because it does not matter.
    pub found: Option<bool>,
}

/// What a [`Difference`] calls the active bundle.
pub const ACTIVE_BUNDLE: &str = "the active bundle";

/// One thing that is, and should be, different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What, such as `scenario DAILY`.
    pub what: String,
    /// As it is on the node.
    pub found: Value,
    /// As the spec wants it.
    pub wanted: Value,
}

/// Something that stops an update, found before anything changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A failure code, such as `CONNECTION_MISSING`.
    pub code: String,
    /// The sentence.
    pub message: String,
}

/// What is on the node after an update: the receipt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The project key on the node.
    pub project_key: String,
    /// The active bundle.
    pub bundle: Option<String>,
    /// The remapping that is in force.
    pub connections: Vec<ConnectionPreview>,
    /// The remapping of code envs that is in force.
    #[serde(default)]
    pub code_envs: Vec<Remapping>,
    /// The remapping of container configurations that is in force.
    #[serde(default)]
    pub container_execs: Vec<Remapping>,
    /// Per scenario: its run-as user and whether it is on.
    pub scenarios: Vec<ReceiptItem>,
    /// Per web app: its run-as user and whether its backend runs.
    pub webapps: Vec<ReceiptItem>,
    /// What there is of an API service; None for a project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReceipt>,
    /// The differences from the spec; empty is healthy.
    pub differences: Vec<Difference>,
}

/// What there is of an API service after an update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceReceipt {
    /// Its id on the platform.
    pub service_id: String,
    /// Whether it answers queries.
    pub enabled: bool,
    /// Its versions and their shares.
    pub versions: Vec<VersionShare>,
    /// Where it is called, as [`crate::on_node::OnService`] says it.
    pub urls: Vec<String>,
    /// What else was read back, by name, such as an image's digest. Never a secret.
    pub facts: BTreeMap<String, Value>,
}

/// A version's share of the queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionShare {
    /// The version.
    pub version: String,
    /// Its share, above 0 and at most 1.
    pub probability: f64,
}

/// One scenario or web app in a [`Receipt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptItem {
    /// Its id.
    pub id: String,
    /// As whom it runs.
    pub run_as: Option<String>,
    /// Whether it is on (scenario) or running (web app).
    pub active: bool,
}
