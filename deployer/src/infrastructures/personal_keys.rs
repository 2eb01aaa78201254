//! A personal key of one user on every node of a multi-node infrastructure: one secret, so that it is good behind a load balancer.

use engine::{clock, secrets::Secret};
use entities::infrastructure;
use futures_util::future::try_join_all;
use serde_json::{Map, json};
use targets::{
    spec::NodePlace,
    target::{NewPersonalKey, PersonalKey},
};

use super::{
    check::{node_key, to_spec},
    settings::Settings,
};
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    keys, platform,
    rights::{self, Level},
    text,
    updates::Trouble,
    viewer::Viewer,
};

/// The longest label or description, in characters.
const LONGEST: usize = 500;

/// What key is to be made.
#[derive(Clone, Debug, Default)]
pub struct NewPersonalKeys {
    /// Whose, a login on the nodes; None is the viewer's own.
    pub user: Option<String>,
    /// What people call it.
    pub label: String,
    /// What it is for.
    pub description: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct PersonalKeys {
    /// Whose.
    pub user: String,
    /// The one secret that is good on every node that took it; None if none did.
    pub secret: Option<Secret>,
    /// What became of it on each node, by name, in their order.
    pub nodes: Vec<(String, NodeKeyOutcome)>,
}

/// What became of a key on one node.
#[derive(Clone, Debug)]
pub enum NodeKeyOutcome {
    /// It was made.
    Made {
        /// The node's id for it, if it tells.
        key_id: Option<String>,
        /// Whether it has our one secret.
        ours: bool,
        /// The node made a secret of its own instead of ours, and tells it.
        own_secret: Option<Secret>,
    },
    /// The node does not know this user.
    UserMissing,
    /// The user is disabled there.
    UserDisabled,
    /// The node could not be asked, or refused.
    Failed(Trouble),
}

impl PersonalKeys {
    /// Whether the one secret is good on every node.
    pub fn on_all_nodes(&self) -> bool {
        self.nodes.iter().all(|(_, outcome)| matches!(outcome, NodeKeyOutcome::Made { ours: true, .. }))
    }

    /// What went wrong, in words; None if nothing did.
    pub fn error(&self) -> Option<String> {
        let said = |(name, outcome): &(String, NodeKeyOutcome)| match outcome {
            NodeKeyOutcome::Made { ours: true, .. } => None,
            NodeKeyOutcome::Made { own_secret: Some(_), .. } => {
                Some(format!("Node {name} made a secret of its own: this key is good on that node alone."))
            }
            NodeKeyOutcome::Made { .. } => {
                Some(format!("Node {name} made a key, and does not tell its secret: look there, or make another one."))
            }
            NodeKeyOutcome::UserMissing => Some(format!("Node {name} does not know this user.")),
            NodeKeyOutcome::UserDisabled => Some(format!("The user is disabled on node {name}.")),
            NodeKeyOutcome::Failed(trouble) => Some(format!("Node {name}: {} ({})", trouble.message, trouble.code)),
        };
        let all: Vec<_> = self.nodes.iter().filter_map(said).collect();
        (!all.is_empty()).then(|| all.join(" "))
    }
}

/// Makes the key on each node. For oneself with the right to deploy; for somebody else, the infrastructure's administrators alone. Where a node fails, the
/// others have the key all the same, and the answer says so.
///
/// # Errors
/// `NOT_FOUND`; `FORBIDDEN`, also with a key that expires or was minted for a run's hooks; `NOT_MULTI_NODE`; `TEXT_INVALID`; `LOGIN_INVALID`; `NODE_URL_MISSING`, `ADMIN_KEY_MISSING`.
pub async fn generate_personal_keys(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    new: NewPersonalKeys,
) -> Result<PersonalKeys> {
    let act = Act::new(deployer, viewer, "generatePersonalKeys", Object::new(ObjectKind::Infrastructure, id));
    act.once(generate_once(deployer, viewer, id, new, &act)).await
}

async fn generate_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    new: NewPersonalKeys,
    act: &Act<'_>,
) -> Result<PersonalKeys> {
    let own = new.user.as_ref().is_none_or(|user| *user == viewer.login);
    let level = if own { Level::Deploy } else { Level::Admin };
    let row = rights::require_infrastructure(deployer.db.pool(), viewer, id, level, "id").await?;
    // A node's keys have no end: whoever's own key has one would outlive it.
    if keys::own_expiry(deployer, viewer).await?.is_some() {
        return Err(Error::forbidden("a key that does not expire, since the node's keys do not"));
    }
    let user = new.user.unwrap_or_else(|| viewer.login.clone());
    let mut problems = Problems::default();
    text::login(&user, "user", &mut problems);
    text::line(&new.label, LONGEST, "label", &mut problems);
    text::line(&new.description, LONGEST, "description", &mut problems);
    problems.check()?;
    let settings = Settings::read(&row.settings)?;
    if !settings.multi_node {
        let message = "Only a multi-node infrastructure makes keys that are good on all its nodes. Make a key on the node itself.";
        return Err(Error::field("NOT_MULTI_NODE", "id", message));
    }
    let spec = to_spec(&row, &settings)?;
    // Before the nodes are asked: what was made on one of them has its record, whatever becomes of the others.
    act.note(Map::from_iter([("user".to_owned(), json!(user)), ("label".to_owned(), json!(new.label))]));
    act.record().await?;
    let secret = Secret::new(random_secret());
    let key = NewPersonalKey { user: &user, label: &new.label, description: &new.description, secret: &secret };
    let made = spec.places().into_iter().map(|place| on_node(deployer, &row, place, key, level));
    let nodes = try_join_all(made).await?;
    let taken = |(_, outcome): &(String, NodeKeyOutcome)| matches!(outcome, NodeKeyOutcome::Made { ours: true, .. });
    let secret = nodes.iter().any(taken).then_some(secret);
    Ok(PersonalKeys { user, secret, nodes })
}

async fn on_node(
    deployer: &Deployer,
    row: &infrastructure::Model,
    place: NodePlace<'_>,
    new: NewPersonalKey<'_>,
    level: Level,
) -> Result<(String, NodeKeyOutcome)> {
    let target = platform::target_of(deployer, row)?;
    let target = platform::projects(&target, "id")?;
    let key = node_key(deployer, place.node).await?;
    let outcome = match target.create_personal_key(place.node, &key, new).await {
        Ok(PersonalKey::Made { id, secret }) => {
            let ours = secret.as_ref().is_some_and(|secret| secret.expose() == new.secret.expose());
            NodeKeyOutcome::Made { key_id: id, ours, own_secret: secret.filter(|_| !ours) }
        }
        Ok(PersonalKey::UserMissing) => NodeKeyOutcome::UserMissing,
        Ok(PersonalKey::UserDisabled) => NodeKeyOutcome::UserDisabled,
        Err(failure) => NodeKeyOutcome::Failed(Trouble::of(&failure, level >= Level::Admin)),
    };
    Ok((place.name.unwrap_or_default().to_owned(), outcome))
}

/// 256 random bits, hexadecimal.
fn random_secret() -> String {
    let mut bytes = [0; 32];
    clock::random_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
