//! What is on a node, and what should be.

use async_graphql::{Json, SimpleObject};
use deployer::updates;
use serde_json::Value;
use targets::target;

use super::{enums::UpdatedNodeStatus, service::ServiceReceipt, settings::Remapping, step::Failure};

/// What a check of an infrastructure found on its node.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct NodeReport {
    /// The node's name for itself.
    node_id: Option<String>,
    /// Its type: an Automation node says AUTOMATION.
    node_type: Option<String>,
    /// Its version, when it tells.
    version: Option<String>,
    /// Whom the key belongs to on the node.
    identity: String,
    /// Whether the key is an administrator's there.
    is_admin: bool,
    /// What is wrong, if anything, each a sentence.
    problems: Vec<String>,
}

impl From<target::NodeReport> for NodeReport {
    fn from(report: target::NodeReport) -> Self {
        let target::NodeReport { node_id, node_type, version, identity, is_admin, problems } = report;
        Self { node_id, node_type, version, identity, is_admin, problems }
    }
}

/// One of several nodes, in one update.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct UpdatedNode {
    /// Its name.
    name: String,
    /// What became of it.
    status: UpdatedNodeStatus,
    /// The step that it is at, or at which it failed.
    step: Option<String>,
    /// Why it failed.
    failure: Option<Failure>,
    /// What is on it, as the last look found it.
    receipt: Option<Receipt>,
}

impl From<updates::UpdatedNode> for UpdatedNode {
    fn from(node: updates::UpdatedNode) -> Self {
        Self {
            name: node.name,
            status: node.status.into(),
            step: node.step,
            failure: node.failure.map(Into::into),
            receipt: node.receipt.map(Into::into),
        }
    }
}

/// One connection that the bundle uses.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ConnectionOnNode {
    /// Its name in the bundle.
    source: String,
    /// Its name on the node.
    target: String,
    /// The type that the bundle wants.
    wanted_type: Option<String>,
    /// The type found on the node; null when there is no such connection.
    found_type: Option<String>,
}

impl From<target::ConnectionPreview> for ConnectionOnNode {
    fn from(connection: target::ConnectionPreview) -> Self {
        let target::ConnectionPreview { source, target, wanted_type, found_type } = connection;
        Self { source, target, wanted_type, found_type }
    }
}

/// One thing that is otherwise on the node than it should be.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Difference {
    /// What, such as `scenario DAILY`.
    what: String,
    /// As it is on the node.
    found: Json<Value>,
    /// As the deployment wants it.
    wanted: Json<Value>,
}

impl From<target::Difference> for Difference {
    fn from(difference: target::Difference) -> Self {
        let target::Difference { what, found, wanted } = difference;
        Self { what, found: Json(found), wanted: Json(wanted) }
    }
}

/// What is on the node after an update.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Receipt {
    /// The project key on the node.
    project_key: String,
    /// The active bundle.
    bundle: Option<String>,
    /// The remapping that is in force.
    connections: Vec<ConnectionOnNode>,
    /// The remapping of code envs that is in force.
    code_envs: Vec<Remapping>,
    /// The remapping of container configurations that is in force.
    container_execs: Vec<Remapping>,
    /// The scenarios.
    scenarios: Vec<ReceiptItem>,
    /// The web apps.
    webapps: Vec<ReceiptItem>,
    /// What there is of an API service; null for a project.
    service: Option<ServiceReceipt>,
    /// What is otherwise than the deployment wants it; empty is healthy.
    differences: Vec<Difference>,
}

impl From<target::Receipt> for Receipt {
    fn from(receipt: target::Receipt) -> Self {
        let target::Receipt {
            project_key,
            bundle,
            connections,
            code_envs,
            container_execs,
            scenarios,
            webapps,
            service,
            differences,
        } = receipt;
        Self {
            project_key,
            bundle,
            connections: all(connections),
            code_envs: all(code_envs),
            container_execs: all(container_execs),
            scenarios: all(scenarios),
            webapps: all(webapps),
            service: service.map(Into::into),
            differences: all(differences),
        }
    }
}

/// One scenario or web app on the node.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ReceiptItem {
    /// Its id.
    id: String,
    /// As whom it runs.
    run_as: Option<String>,
    /// Whether it is on (scenario) or running (web app).
    active: bool,
}

impl From<target::ReceiptItem> for ReceiptItem {
    fn from(item: target::ReceiptItem) -> Self {
        let target::ReceiptItem { id, run_as, active } = item;
        Self { id, run_as, active }
    }
}

/// All of a list.
pub(crate) fn all<T, U: From<T>>(list: impl IntoIterator<Item = T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}
