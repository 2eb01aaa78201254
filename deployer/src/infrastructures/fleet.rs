//! What a node says of itself when it enrolls, and how that becomes the infrastructure's settings.

use engine::{db::Tx, secrets::Secret};
use entities::infrastructure;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::{Map, Value};
use targets::{Targets, http::NodeUrl};

use super::{
    change,
    nodes::{self, KeyRefs, MOST_NODES, Managed, Node},
    settings::Settings,
    validate,
};
use crate::{
    Deployer,
    error::{Error, Problems, Result},
    names, sealed, text,
};

/// What a node says of itself. All of it takes the place of what was there.
#[derive(Clone, Debug)]
pub struct NodeOffer {
    /// The node's name for itself, 1 to 200 characters. Among several nodes it is the name of a new one, unless the token says otherwise; then the
    /// rules of ids hold.
    pub node_id: String,
    /// Where we reach it: http or https.
    pub url: String,
    /// What people open in a browser; None is the URL.
    pub external_url: Option<String>,
    /// Accept any certificate of it.
    pub trust_all_certificates: bool,
    /// The node's administrator key, write-only.
    pub admin_key: Secret,
    /// Where it sends its audit events; None leaves that as it is.
    pub auditing: Option<Map<String, Value>>,
    /// Where it sends its logs; None leaves that as it is.
    pub logging: Option<Map<String, Value>>,
}

impl NodeOffer {
    /// The same without blanks at the ends.
    ///
    /// # Errors
    /// All that is wrong with it, by the rules for settings that are entered by hand.
    fn checked(mut self, targets: &Targets) -> Result<Self> {
        let mut problems = Problems::default();
        text::required_line(&self.node_id, text::LINE, "nodeId", &mut problems);
        self.url = self.url.trim().to_owned();
        if self.url.is_empty() {
            problems.add("NODE_URL_INVALID", "url", "Write a whole URL that begins with http:// or https://.");
        }
        validate::node_url(&mut self.url, "url", targets, &mut problems);
        self.external_url = self.external_url.map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
        validate::external_url(self.external_url.as_deref(), "externalUrl", &mut problems);
        validate::key(&self.admin_key, "adminKey", &mut problems);
        for (kept, field) in [(&self.auditing, "auditing"), (&self.logging, "logging")] {
            if let Some(kept) = kept {
                validate::fleet_json(kept, field, &mut problems);
            }
        }
        problems.check()?;
        Ok(self)
    }
}

/// An infrastructure under its lock, as it was and as it is to be.
pub(crate) struct Changing {
    row: infrastructure::Model,
    settings: Settings,
    refs: KeyRefs,
}

impl Changing {
    /// The caller holds the row's lock.
    pub(crate) fn of(row: infrastructure::Model) -> Result<Self> {
        let settings = Settings::read(&row.settings)?;
        let refs = nodes::key_refs(row.node_key_refs.as_deref())?;
        Ok(Self { row, settings, refs })
    }

    /// Whether several nodes stand behind it.
    pub(crate) fn is_multi_node(&self) -> bool {
        self.settings.multi_node
    }

    /// Whether there is such a node, and a fleet manages it. None: there is no such node.
    pub(crate) fn is_managed(&self, name: Option<&str>) -> Option<bool> {
        match (self.settings.multi_node, name) {
            (false, None) => Some(self.settings.managed.is_some()),
            (true, Some(name)) => {
                let node = self.settings.nodes.iter().find(|node| node.name == name)?;
                Some(node.managed.is_some())
            }
            _ => None,
        }
    }

    /// Makes or updates the node of this name; without a name, the only one, or the one that is called as the node calls itself. Answers the name
    /// that the node has among several.
    pub(crate) async fn enter(
        &mut self,
        deployer: &Deployer,
        tx: &Tx,
        name: Option<&str>,
        offer: NodeOffer,
    ) -> Result<Option<String>> {
        let offer = offer.checked(&deployer.targets)?;
        let managed = Some(Managed { node_id: offer.node_id.clone(), since: tx.now().await? });
        if !self.settings.multi_node {
            if name.is_some() {
                let message = "This infrastructure has one node, which has no name, and the token names one. Use a token without a node's name.";
                return Err(Error::field("NODE_LIST_INVALID", "nodeId", message));
            }
            let settings = &mut self.settings;
            settings.node_url = offer.url;
            settings.external_url = offer.external_url;
            settings.trust_all_certificates = offer.trust_all_certificates;
            settings.managed = managed;
            settings.auditing = offer.auditing.unwrap_or_else(|| std::mem::take(&mut settings.auditing));
            settings.logging = offer.logging.unwrap_or_else(|| std::mem::take(&mut settings.logging));
            let owner = sealed::owner_of(&self.row.id);
            self.row.key_ref = Some(sealed::put(tx, &deployer.keyring, &owner, &offer.admin_key).await?);
            return Ok(None);
        }
        let at = self.place(name, &offer)?;
        let node = &mut self.settings.nodes[at];
        node.url = offer.url;
        node.external_url = offer.external_url;
        node.trust_all_certificates = offer.trust_all_certificates;
        node.managed = managed;
        node.auditing = offer.auditing.unwrap_or_else(|| std::mem::take(&mut node.auditing));
        node.logging = offer.logging.unwrap_or_else(|| std::mem::take(&mut node.logging));
        let name = node.name.clone();
        let owner = sealed::node_owner_of(&self.row.id);
        let key = sealed::put(tx, &deployer.keyring, &owner, &offer.admin_key).await?;
        self.refs.insert(name.clone(), key);
        Ok(Some(name))
    }

    /// Where in the list the node is, or is from now on.
    fn place(&mut self, name: Option<&str>, offer: &NodeOffer) -> Result<usize> {
        let mut problems = Problems::default();
        let called = name.unwrap_or(&offer.node_id);
        names::check(called, "nodeId", &mut problems);
        let nodes = &mut self.settings.nodes;
        let url = NodeUrl::spelled(&offer.url);
        if nodes.iter().any(|node| node.name != called && NodeUrl::spelled(&node.url) == url) {
            let message = "Another node of this infrastructure has this URL. Each has its own.";
            problems.add("NODE_LIST_INVALID", "url", message);
        }
        let at = nodes.iter().position(|node| node.name == called);
        match at {
            // Whoever made a token without a name meant no node in particular.
            Some(at) if name.is_none() && nodes[at].managed.is_none() => {
                let message = "A node of this name is managed by hand. Choose another nodeId, or have a token made for that node, by its name.";
                problems.add("NODE_NAME_TAKEN", "nodeId", message);
            }
            None if nodes.len() >= MOST_NODES => {
                problems.add("NODE_LIST_INVALID", "nodeId", format!("There are {MOST_NODES} nodes, and no more fit."));
            }
            _ => {}
        }
        problems.check()?;
        Ok(at.unwrap_or_else(|| {
            nodes.push(Node { name: called.to_owned(), ..Node::default() });
            nodes.len() - 1
        }))
    }

    /// Takes the node away with all that it said.
    pub(crate) fn leave(&mut self, name: Option<&str>) {
        if let Some(name) = name {
            self.settings.nodes.retain(|node| node.name != name);
            self.refs.remove(name);
            return;
        }
        self.settings.node_url = String::new();
        self.settings.external_url = None;
        self.settings.trust_all_certificates = false;
        self.settings.auditing = Map::new();
        self.settings.logging = Map::new();
        self.settings.managed = None;
        self.row.key_ref = None;
    }

    /// Leaves the node as it is, to be changed by hand.
    pub(crate) fn release(&mut self, name: Option<&str>) {
        match name {
            None => self.settings.managed = None,
            Some(name) => {
                for node in self.settings.nodes.iter_mut().filter(|node| node.name == name) {
                    node.managed = None;
                }
            }
        }
    }

    /// Writes it all, counts the change, and forgets the keys that nothing needs any more.
    pub(crate) async fn write(self, tx: &Tx, by: &str) -> Result<()> {
        use infrastructure::Column;
        infrastructure::Entity::update_many()
            .col_expr(Column::Settings, self.settings.write()?.into())
            .col_expr(Column::KeyRef, self.row.key_ref.clone().into())
            .col_expr(Column::NodeKeyRefs, nodes::key_refs_text(&self.refs)?.into())
            .filter(Column::Id.eq(&self.row.id))
            .exec(&**tx)
            .await?;
        change::forget_keys(tx, &self.row.id).await?;
        change::touch_as(tx, by, &self.row).await
    }
}
