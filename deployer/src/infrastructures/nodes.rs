//! The nodes of a multi-node infrastructure, and what a fleet manages of a node.

use std::collections::{BTreeMap, BTreeSet};

use engine::{db::Tx, secrets::Secret};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use targets::{Targets, http::NodeUrl};

use super::{settings::Settings, validate};
use crate::{
    Deployer,
    error::{Problems, Result},
    names, sealed,
};

/// More nodes than anybody puts behind one deployment: each has steps of its own in every update.
pub const MOST_NODES: usize = 32;

/// One of several nodes. A node's name is for good: receipts, notes and imports speak of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Unique within the infrastructure.
    pub name: String,
    /// Where we reach it: http or https.
    pub url: String,
    /// What people open in a browser; None is the URL.
    pub external_url: Option<String>,
    /// Accept any certificate of it.
    pub trust_all_certificates: bool,
    /// Where it sends its audit events, in its own words. Kept for hooks and clients; Slipway acts on none of it.
    pub auditing: Map<String, Value>,
    /// Where it sends its logs, likewise.
    pub logging: Map<String, Value>,
    /// The fleet that manages it, if one does: then all of the above is read-only by hand.
    pub managed: Option<Managed>,
}

/// That a node enrolled itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Managed {
    /// The node's name for itself.
    pub node_id: String,
    /// When it enrolled, or last changed, in µs since the Unix epoch.
    pub since: i64,
}

/// A node in a list that takes the place of the one before.
#[derive(Clone, Debug, Default)]
pub struct NodePatch {
    /// Unique within the infrastructure. A name that was there before is the same node.
    pub name: String,
    /// Where we reach it.
    pub url: String,
    /// What people open in a browser: None leaves it as it is, `Some(None)` is the URL.
    pub external_url: Option<Option<String>>,
    /// Accept any certificate of it; None leaves that as it is.
    pub trust_all_certificates: Option<bool>,
    /// None leaves it as it is.
    pub auditing: Option<Map<String, Value>>,
    /// None leaves it as it is.
    pub logging: Option<Map<String, Value>>,
    /// The node's administrator key, write-only. None keeps the stored one, where the address stays; `Some(None)` removes it.
    pub admin_key: Option<Option<Secret>>,
    /// The stored key must still be good after the change.
    pub keeps_key: bool,
}

/// References to the nodes' keys, by name: the column `node_key_refs`.
pub(crate) type KeyRefs = BTreeMap<String, String>;

/// Reads the column.
pub(crate) fn key_refs(text: Option<&str>) -> Result<KeyRefs> {
    Ok(text.map(serde_json::from_str).transpose()?.unwrap_or_default())
}

/// Writes the column; an infrastructure of one node has none.
pub(crate) fn key_refs_text(refs: &KeyRefs) -> Result<Option<String>> {
    Ok(if refs.is_empty() { None } else { Some(serde_json::to_string(refs)?) })
}

/// The list that takes the place of `old`. What a fleet manages stays as it is.
pub(super) fn applied(old: &[Node], list: &[NodePatch]) -> Vec<Node> {
    list.iter()
        .map(|patch| {
            let before = old.iter().find(|node| node.name == patch.name).cloned().unwrap_or_default();
            let given = patch.external_url.clone().unwrap_or(before.external_url);
            let external_url = given.as_deref().map(str::trim).filter(|url| !url.is_empty());
            Node {
                name: patch.name.clone(),
                url: patch.url.clone(),
                external_url: external_url.map(str::to_owned),
                trust_all_certificates: patch.trust_all_certificates.unwrap_or(before.trust_all_certificates),
                auditing: patch.auditing.clone().unwrap_or(before.auditing),
                logging: patch.logging.clone().unwrap_or(before.logging),
                managed: before.managed,
            }
        })
        .collect()
}

/// Notes what is wrong with the nodes.
pub(super) fn check(settings: &mut Settings, targets: &Targets, problems: &mut Problems) {
    if !settings.multi_node {
        if !settings.nodes.is_empty() {
            let message = "Only a multi-node infrastructure has a list of nodes. Set multiNode; or empty the list, and enter the one node's URL and key.";
            problems.add("NODE_LIST_INVALID", "nodes", message);
        }
        return;
    }
    if !settings.node_url.is_empty() {
        let message = "A multi-node infrastructure has the URLs in its list of nodes. Leave this empty.";
        problems.add("NODE_LIST_INVALID", "nodeUrl", message);
    }
    if settings.nodes.len() > MOST_NODES {
        problems.add("NODE_LIST_INVALID", "nodes", format!("At most {MOST_NODES} nodes."));
        return;
    }
    let (mut names, mut urls) = (BTreeSet::new(), BTreeSet::new());
    for (at, node) in settings.nodes.iter_mut().enumerate() {
        let field = |part: &str| format!("nodes[{at}].{part}");
        names::check(&node.name, &field("name"), problems);
        if !names.insert(node.name.clone()) {
            problems.add("NODE_LIST_INVALID", field("name"), "This name is there twice. Each node has its own.");
        }
        validate::node_url(&mut node.url, &field("url"), targets, problems);
        if node.url.is_empty() {
            problems.add("NODE_URL_INVALID", field("url"), "Write a whole URL that begins with http:// or https://.");
        } else if !urls.insert(NodeUrl::spelled(&node.url)) {
            problems.add(
                "NODE_LIST_INVALID",
                field("url"),
                "Another node of this list has this URL. Each has its own.",
            );
        }
        validate::external_url(node.external_url.as_deref(), &field("externalUrl"), problems);
        validate::fleet_json(&node.auditing, &field("auditing"), problems);
        validate::fleet_json(&node.logging, &field("logging"), problems);
    }
}

/// Notes each change by hand of what a fleet manages. Its own changes come another way.
pub(super) fn check_managed(old: &Settings, new: &Settings, keys: &Changed<'_>, problems: &mut Problems) {
    let mut refuse = |field: String| {
        let message = "A fleet manages this node: its connection, auditing and logging are changed by the node itself (slipway node). Release the node first to change them by hand.";
        problems.add("NODE_MANAGED", field, message);
    };
    if old.managed.is_some() {
        let fields = [
            ("multiNode", new.multi_node),
            ("nodeUrl", old.node_url != new.node_url),
            ("externalUrl", old.external_url != new.external_url),
            ("trustAllCertificates", old.trust_all_certificates != new.trust_all_certificates),
            ("auditing", old.auditing != new.auditing),
            ("logging", old.logging != new.logging),
            ("adminKey", keys.only),
        ];
        for (field, _) in fields.into_iter().filter(|(_, changed)| *changed) {
            refuse(field.to_owned());
        }
    }
    for before in old.nodes.iter().filter(|node| node.managed.is_some()) {
        let Some(at) = new.nodes.iter().position(|node| node.name == before.name) else {
            refuse("nodes".to_owned());
            continue;
        };
        let after = &new.nodes[at];
        let fields = [
            ("url", before.url != after.url),
            ("externalUrl", before.external_url != after.external_url),
            ("trustAllCertificates", before.trust_all_certificates != after.trust_all_certificates),
            ("auditing", before.auditing != after.auditing),
            ("logging", before.logging != after.logging),
            ("adminKey", keys.of.iter().any(|name| *name == before.name)),
        ];
        for (field, _) in fields.into_iter().filter(|(_, changed)| *changed) {
            refuse(format!("nodes[{at}].{field}"));
        }
    }
}

/// Which keys somebody enters, or takes away, by hand.
pub(super) struct Changed<'a> {
    /// That of the only node.
    pub(super) only: bool,
    /// Those of several nodes, by name.
    pub(super) of: Vec<&'a str>,
}

/// Notes what is wrong with the keys of a list.
pub(super) fn check_keys(old: &Settings, refs: &KeyRefs, list: &[NodePatch], new: &[Node], problems: &mut Problems) {
    for (at, (patch, node)) in list.iter().zip(new).enumerate() {
        let field = format!("nodes[{at}].adminKey");
        if let Some(Some(key)) = &patch.admin_key {
            validate::key(key, &field, problems);
        }
        if patch.keeps_key && !stays(old, refs, node) {
            problems.add("ADMIN_KEY_MASKED", field, not_kept(refs.contains_key(&node.name)));
        }
    }
}

/// Why a mask does not keep a node's key.
pub(super) fn not_kept(stored: bool) -> &'static str {
    if stored {
        "The node's scheme, host, port or certificate trust changed, so the stored key would go somewhere else. Enter the node's key itself."
    } else {
        "There is no stored key. Enter the node's key itself."
    }
}

/// Whether the node has a stored key that is still for it.
fn stays(old: &Settings, refs: &KeyRefs, node: &Node) -> bool {
    let before = old.nodes.iter().find(|before| before.name == node.name);
    refs.contains_key(&node.name) && before.is_some_and(|before| !another_place(before, node))
}

fn another_place(old: &Node, new: &Node) -> bool {
    super::change::differs((&old.url, old.trust_all_certificates), (&new.url, new.trust_all_certificates))
}

/// The references after the change: new keys are sealed, a key whose node has another address by now is left behind.
pub(super) async fn put_keys(
    deployer: &Deployer,
    tx: &Tx,
    id: &str,
    (old, refs): (&Settings, &KeyRefs),
    list: Option<&[NodePatch]>,
    new: &Settings,
) -> Result<KeyRefs> {
    let mut kept: KeyRefs = new
        .nodes
        .iter()
        .filter(|node| stays(old, refs, node))
        .filter_map(|node| Some((node.name.clone(), refs.get(&node.name)?.clone())))
        .collect();
    for patch in list.unwrap_or_default() {
        match &patch.admin_key {
            None => {}
            Some(None) => drop(kept.remove(&patch.name)),
            Some(Some(key)) => {
                let owner = sealed::node_owner_of(id);
                kept.insert(patch.name.clone(), sealed::put(tx, &deployer.keyring, &owner, key).await?);
            }
        }
    }
    Ok(kept)
}
