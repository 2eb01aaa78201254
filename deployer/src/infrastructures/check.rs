//! Reaching an infrastructure's nodes, and its settings as a run's spec holds them.

use engine::{failure::Failure, secrets::Secret};
use entities::infrastructure;
use futures_util::future::try_join_all;
use targets::{
    http::NodeUrl,
    spec::{GovernCheckPolicy, GovernanceSource, InfrastructureSpec, NamedNode, NodePlace, NodeSpec},
    target::{Half, NodeReport},
};

use super::{nodes::key_refs, settings::Settings};
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    freeze,
    platform::{self, Opener},
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

/// What sealed a secret is not here.
const KEY_LOST: &str = "SECRET_KEY_UNKNOWN";

/// What a check came to at one node.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedNode {
    /// Its name, where there are several.
    pub name: Option<String>,
    /// What came of it.
    pub outcome: CheckOutcome,
}

/// Reaches each node with its stored key, and changes nothing there. Its administrators alone.
///
/// # Errors
/// `NOT_FOUND`, `FORBIDDEN`, `NODE_URL_MISSING`, `ADMIN_KEY_MISSING`.
pub async fn check(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Vec<CheckedNode>> {
    let act = Act::new(deployer, viewer, "checkInfrastructure", Object::new(ObjectKind::Infrastructure, id));
    act.once(ask(deployer, viewer, id)).await
}

async fn ask(deployer: &Deployer, viewer: &Viewer, id: &str) -> Result<Vec<CheckedNode>> {
    let row = rights::require_infrastructure(deployer.db.pool(), viewer, id, Level::Admin, "id").await?;
    let settings = Settings::read(&row.settings)?;
    let spec = freeze::place(deployer.db.pool(), &row).await?.spec;
    let target = platform::target_of(deployer, &row)?;
    let problems = problems_of(&settings);
    let one = async |place: NodePlace<'_>| {
        let (node, nodes) = (place.node.clone(), Vec::new());
        let there = InfrastructureSpec { node, nodes, ..spec.clone() };
        let outcome = match platform::asked_for_a_while(target.check(&there, &Opener(deployer))).await {
            Ok(mut report) => {
                report.problems.extend(problems.iter().map(|problem| (*problem).to_owned()));
                CheckOutcome::Reached(report)
            }
            // No node was asked: it is the key to our own secrets that is lost.
            Err(failure) if failure.code.as_str() == KEY_LOST => return Err(Error::refused(KEY_LOST, failure.message)),
            Err(failure) => CheckOutcome::Failed(failure),
        };
        Ok(CheckedNode { name: place.name.map(str::to_owned), outcome })
    };
    try_join_all(spec.places().into_iter().map(one)).await
}

/// What is wrong with the settings themselves, whatever the nodes say.
fn problems_of(settings: &Settings) -> Vec<&'static str> {
    let mut problems = Vec::new();
    if settings.govern_check_policy != GovernCheckPolicy::NoCheck && settings.governance_url.is_none() {
        problems.push("The govern check policy asks nobody: no governance source is entered.");
    }
    if settings.multi_node && settings.nodes.len() < 2 {
        problems.push("This multi-node infrastructure has one node: nothing stands in for it.");
    }
    problems
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

fn missing_of(node: &str) -> Error {
    let message = format!(
        "Node {node} of this infrastructure has no administrator key. An administrator of the infrastructure must enter one."
    );
    Error::refused("ADMIN_KEY_MISSING", message)
}

/// Whom to ask about bundles, if anybody.
pub(crate) fn governance_source(row: &infrastructure::Model, settings: &Settings) -> Option<GovernanceSource> {
    let url = settings.governance_url.clone()?;
    Some(GovernanceSource { url, key: row.governance_key_ref.clone() })
}

/// The settings as a run's spec holds them: keys by reference.
///
/// # Errors
/// `NODE_URL_MISSING` before somebody entered one; `ADMIN_KEY_MISSING` when none was entered, or a change of the node cleared it.
pub fn to_spec(row: &infrastructure::Model, settings: &Settings) -> Result<InfrastructureSpec> {
    let node = |url: &str, key: &str, trust_all_certificates: bool| NodeSpec {
        url: NodeUrl::spelled(url),
        key: key.to_owned(),
        trust_all_certificates,
        webapp_run_as_field: settings.webapp_run_as_field.clone(),
        settle_ms: settings.settle_ms,
        call_timeout_ms: settings.call_timeout_ms,
    };
    let no_url = || {
        Error::refused(
            "NODE_URL_MISSING",
            "This infrastructure has no node URL yet. An administrator of the infrastructure must enter one.",
        )
    };
    let kind = platform::kind_of(row)?;
    let mut nodes = Vec::new();
    let first = if kind.half() == Half::Api {
        nodes = kind.nodes(&settings.platform);
        for named in &mut nodes {
            // The limits of calls are the infrastructure's.
            let limits = node(&named.node.url, &named.node.key, named.node.trust_all_certificates);
            named.node = NodeSpec { url: named.node.url.clone(), ..limits };
        }
        nodes.first().map_or_else(|| node("", "", false), |named| named.node.clone())
    } else if settings.multi_node {
        let keys = key_refs(row.node_key_refs.as_deref())?;
        for one in &settings.nodes {
            let key = keys.get(&one.name).ok_or_else(|| missing_of(&one.name))?;
            nodes.push(NamedNode { name: one.name.clone(), node: node(&one.url, key, one.trust_all_certificates) });
        }
        nodes.first().ok_or_else(no_url)?.node.clone()
    } else if settings.node_url.is_empty() {
        return Err(no_url());
    } else {
        let key = row.key_ref.as_deref().ok_or_else(missing)?;
        node(&settings.node_url, key, settings.trust_all_certificates)
    };
    Ok(InfrastructureSpec {
        id: row.id.clone(),
        kind,
        settings: settings.platform.clone(),
        connection: None,
        node: first,
        nodes,
        permissions_propagation: settings.permissions_propagation,
        run_as_scenarios: settings.run_as_scenarios.clone(),
        run_as_webapps: settings.run_as_webapps.clone(),
        trust_foreign_bundles: settings.trust_foreign_bundles,
        govern_check_policy: settings.govern_check_policy,
        governance: governance_source(row, settings),
        project_standards_policy: settings.project_standards_policy,
    })
}
