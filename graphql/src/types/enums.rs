//! Words with a fixed set of values.

use async_graphql::Enum;

/// Which list of stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::stages::StageKind")]
pub(crate) enum StageKind {
    /// Of infrastructures that projects are deployed to.
    Project,
    /// Of infrastructures that API services are deployed to.
    Api,
}

/// Whose an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::accounts::users::AccountKind")]
pub(crate) enum AccountKind {
    /// A person's.
    Personal,
    /// A machine's, such as a CI orchestrator's. Only global administrators make keys for it.
    Technical,
}

/// What somebody may do on an infrastructure. Each level contains those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::rights::Level")]
pub(crate) enum Level {
    /// Nothing: it is not there.
    None,
    /// See it, and the deployments on it as far as their projects may be read.
    View,
    /// Deploy on it.
    Deploy,
    /// See and change its settings, rights and hooks.
    Admin,
}

/// What of the design project's rights a new project on the node gets. Later updates leave the node's rights alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "targets::spec::PermissionsPropagation")]
pub(crate) enum PermissionsPropagation {
    /// The deploying user owns it; nothing else.
    None,
    /// Users and groups of the design project may read.
    Limited,
    /// The design project's rights.
    Full,
}

/// What becomes of a bundle that the governance source does not approve of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "targets::spec::GovernCheckPolicy")]
pub(crate) enum GovernCheckPolicy {
    /// No update asks.
    NoCheck,
    /// It is told: a new or changed deployment is refused unless warnings are ignored, and updates end with a warning.
    Warn,
    /// An update fails if the source answers an error, or can't be asked; a warning is told.
    Prevent,
}

/// What becomes of a bundle whose project standards report names a problem, or that has no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "targets::spec::ProjectStandardsPolicy")]
pub(crate) enum ProjectStandardsPolicy {
    /// The report is not looked at.
    Ignore,
    /// It is told: a new or changed deployment is refused unless warnings are ignored, and updates end with a warning.
    Warn,
    /// An update fails if a check found something, could not be run, or if there is no report.
    Prevent,
}

/// What is remapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::deployments::RemappingKind")]
pub(crate) enum RemappingKind {
    /// A connection.
    Connection,
    /// A code env.
    CodeEnv,
    /// A container configuration.
    ContainerExec,
}

/// What happens to a code env that the node lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "targets::spec::ImportTimeMode")]
pub(crate) enum ImportTimeMode {
    /// The node makes it.
    InstallIfMiss,
    /// The import fails.
    FailIfMiss,
    /// Nothing.
    DoNothing,
}

/// After which description a code env is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "targets::spec::EnvImportSpecificationMode")]
pub(crate) enum EnvImportSpecificationMode {
    /// The packages that its maker asked for.
    Specified,
    /// The packages, with their versions, that the design node had.
    Actual,
}

/// What an update does when it fails for good, or is cancelled, after it may have changed the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "engine::plan::OnFailure")]
pub(crate) enum OnFailure {
    /// Leave the node as it is, and say what it is. Where there are several, the update stops, and those whose turn had not come are not touched.
    Leave,
    /// Re-activate what was active before; on each node that was changed, where there are several.
    Restore,
    /// Where there are several nodes: leave out the one that failed, and go on with the others. The update warns; it fails when no node is left. With one
    /// node this is LEAVE.
    GoOn,
}

/// What became of a node in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::updates::NodeStatus")]
pub(crate) enum UpdatedNodeStatus {
    /// Its turn has not come.
    Pending,
    /// It is being changed, or looked at.
    Updating,
    /// It is as the update was to make it.
    Done,
    /// It failed; it may be between two states.
    Failed,
    /// What was active before was put back.
    Restored,
    /// The update ended before its turn: what was active before still is.
    Untouched,
}

/// What happens to a hook's attempt that was interrupted (its worker died) after it may have acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "engine::plan::OnInterrupt")]
pub(crate) enum OnInterrupt {
    /// Run it again, under the same idempotency key.
    Rerun,
    /// Fail the update with `OUTCOME_UNKNOWN`.
    Fail,
}

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::hooks::Phase")]
pub(crate) enum HookPhase {
    /// Before anything on the node changes.
    Pre,
    /// When the deployment was verified.
    Post,
}

/// What an update is, at a glance. SUCCEEDED, WARNING, FAILED and CANCELLED are ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "engine::journal::Status")]
pub(crate) enum UpdateStatus {
    /// Accepted; no worker has begun.
    Queued,
    /// A worker is at it, or it waits for one to take it over.
    Running,
    /// Waits for a slot, for the node, or for its next attempt: see `waitingOn`.
    Waiting,
    /// Done.
    Succeeded,
    /// Done, with something to look at.
    Warning,
    /// Not done.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// Nobody can tell what is on the node: somebody must look, then retry or abandon it. Later updates of the deployment wait until then.
    Stuck,
}

/// What an update is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::updates::UpdateType")]
pub(crate) enum UpdateType {
    /// It makes the deployment so, as it is set.
    Update,
    /// It puts back what was live before.
    Restore,
    /// It makes a disabled deployment so again, with its scenarios as they were.
    Enable,
    /// It switches the project on the node off.
    Disable,
    /// It does on the node what the deployment's deletion asks for.
    Delete,
    /// A later version's: this one does not know what it is for.
    Unknown,
}

/// The health of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::status::Health")]
pub(crate) enum Health {
    /// It is on the node as it is set, and works.
    Healthy,
    /// Nobody can say: it was never deployed, or it is disabled.
    Unknown,
    /// It works, with something to look at.
    Warning,
    /// It is on the node as it is set, but a scenario fails or a web app stopped.
    Unhealthy,
    /// What is on the node is otherwise than it is set, or than it was left.
    OutOfSync,
    /// Its last update failed, or its node can't be asked.
    Error,
}

/// How bad a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::status::Severity")]
pub(crate) enum Severity {
    /// All is well.
    Success,
    /// Good to know.
    Info,
    /// Look at it.
    Warning,
    /// Mend it.
    Error,
}

/// What becomes of the project on the node when its deployment is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::deployments::OnNode")]
pub(crate) enum OnNode {
    /// It stays as it is, and works on.
    Leave,
    /// It stays, with every scenario off and every web app stopped.
    SwitchOff,
    /// It is deleted, with its scenarios and bundles. Data that it manages stays where it lies.
    DeleteProject,
}

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::updates::steps::StepStatus")]
pub(crate) enum StepStatus {
    /// Not begun.
    Pending,
    /// An attempt is under way.
    Running,
    /// It waits: for a slot, for the node, for its next attempt.
    Waiting,
    /// Done.
    Succeeded,
    /// Done, or failed without stopping the update; look at its warnings.
    Warning,
    /// Failed for good, or stopped.
    Failed,
    /// Done by the update that this one retries.
    Inherited,
    /// The update ended without it.
    Skipped,
}

/// What kind of thing an update waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "deployer::updates::waiting::WaitKind")]
pub(crate) enum WaitKind {
    /// A slot of a pool.
    Slot,
    /// Updates of the same deployment that were requested earlier.
    EarlierUpdate,
    /// The time of its next attempt.
    NextAttempt,
    /// The node, which is still busy.
    Node,
    /// A worker that takes it.
    Worker,
}
