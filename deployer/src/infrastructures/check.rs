//! Reaching an infrastructure's node, and its settings as a run's spec holds them.

use engine::{failure::Failure, secrets::Secret};
use entities::infrastructure;
use targets::{
    TargetType,
    spec::{GovernanceSource, InfrastructureSpec, NodeSpec},
    target::NodeReport,
};

use super::settings::Settings;
use crate::{
    Deployer,
    error::{Error, Result},
    rights::{self, Level},
    sealed,
    viewer::Viewer,
};

/// What a check came to.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckOutcome {
    /// The node answered. Its report may still name problems.
    Reached(NodeReport),
    /// It did not, or not as it should: with the code that an update would fail with.
    Failed(Failure),
}

/// Reaches the node with the stored key, and changes nothing there. Its administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `NODE_URL_MISSING`, `ADMIN_KEY_MISSING`.
pub async fn check(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<CheckOutcome> {
    let row = rights::require_infrastructure(deployer.db.pool(), viewer, id, Level::Admin, "id").await?;
    let spec = to_spec(&row, &Settings::read(&row.settings)?)?;
    let key = node_key(deployer, &spec.node).await?;
    let kind = row.kind.parse::<TargetType>().map_err(|error| Error::fault(error.to_string()))?;
    let target = deployer.targets.find(kind).ok_or_else(|| Error::fault(format!("this build lacks {kind}")))?;
    Ok(match target.check(&spec.node, &key).await {
        Ok(report) => CheckOutcome::Reached(report),
        Err(failure) => CheckOutcome::Failed(failure),
    })
}

/// The key that a node's spec refers to. For what acts in the deployer's own name, after the caller asked for the right.
pub(crate) async fn node_key(deployer: &Deployer, node: &NodeSpec) -> Result<Secret> {
    sealed::open(&deployer.db, &deployer.keyring, &node.key).await?.ok_or_else(missing)
}

fn missing() -> Error {
    Error::refused(
        "ADMIN_KEY_MISSING",
        "This infrastructure has no administrator key of its node. An administrator of the infrastructure must enter one.",
    )
}

/// The settings as a run's spec holds them: the key by reference.
///
/// # Errors
/// `NODE_URL_MISSING` before somebody entered one; `ADMIN_KEY_MISSING` when none was entered, or a change of the node cleared it.
pub fn to_spec(row: &infrastructure::Model, settings: &Settings) -> Result<InfrastructureSpec> {
    if settings.node_url.is_empty() {
        return Err(Error::refused(
            "NODE_URL_MISSING",
            "This infrastructure has no node URL yet. An administrator of the infrastructure must enter one.",
        ));
    }
    Ok(InfrastructureSpec {
        id: row.id.clone(),
        node: NodeSpec {
            url: settings.node_url.clone(),
            key: row.key_ref.clone().ok_or_else(missing)?,
            trust_all_certificates: settings.trust_all_certificates,
            webapp_run_as_field: settings.webapp_run_as_field.clone(),
            settle_ms: settings.settle_ms,
            call_timeout_ms: settings.call_timeout_ms,
        },
        permissions_propagation: settings.permissions_propagation,
        run_as_scenarios: settings.run_as_scenarios.clone(),
        run_as_webapps: settings.run_as_webapps.clone(),
        trust_foreign_bundles: settings.trust_foreign_bundles,
        govern_check_policy: settings.govern_check_policy,
        governance: settings
            .governance_url
            .clone()
            .map(|url| GovernanceSource { url, key: row.governance_key_ref.clone() }),
        project_standards_policy: settings.project_standards_policy,
    })
}
