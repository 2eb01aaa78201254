//! Finding and making tokens and credentials.

use engine::{
    db::Tx,
    secrets::{NodeToken, NodeTokenKind},
};
use entities::{infrastructure, node_enrolment};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::{
    Deployer,
    accounts::changes::inserted,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Result},
    keys,
    rights::{self, Level},
    viewer::{Origin, Viewer},
};

/// The one code for all that is no living token or credential.
pub const TOKEN_INVALID: &str = "ENROLMENT_TOKEN_INVALID";

/// The one answer to whatever is no living token or credential.
pub fn invalid() -> Error {
    let message = "This needs a valid token: \"Authorization: Bearer TOKEN\". To enroll, a one-time token that an administrator of the infrastructure made (slipway node token); to change or remove a node, the credential that it got when it enrolled.";
    Error::refused(TOKEN_INVALID, message)
}

/// Whoever sent a living token, or a credential. It may die until it is used: that is looked at again.
#[derive(Clone, Debug)]
pub struct Bearer {
    pub(super) row: node_enrolment::Model,
    pub(super) viewer: Viewer,
}

impl Bearer {
    /// The name that log and audit show: `enrolment:` or `node:`, and the part of the token that may be shown.
    pub fn login(&self) -> &str {
        &self.viewer.login
    }

    pub(super) fn act<'a>(&self, deployer: &'a Deployer, action: &'static str) -> Act<'a> {
        let object = Object::new(ObjectKind::Infrastructure, &self.row.infrastructure_id);
        // `lock` looks at the token.
        Act::new(deployer, &self.viewer, action, object).vouched()
    }

    /// Locks the infrastructure, and looks whether the token is still alive.
    pub(super) async fn lock(&self, tx: &Tx, act: &Act<'_>) -> Result<infrastructure::Model> {
        let id = self.row.infrastructure_id.as_str();
        tx.lock("infrastructure", "id = $1", id).await?;
        let token = node_enrolment::Entity::find_by_id(&self.row.id).one(&**tx).await?;
        let token = token.filter(|token| token.hash == self.row.hash);
        let now = tx.now().await?;
        let infrastructure = infrastructure::Entity::find_by_id(id).one(&**tx).await?;
        let Some(infrastructure) = infrastructure.filter(|_| token.is_some_and(|token| lives(&token, now))) else {
            return Err(invalid());
        };
        act.before(tx).await?;
        Ok(infrastructure)
    }
}

fn lives(token: &node_enrolment::Model, now: i64) -> bool {
    token.used_at.is_none() && token.expires_at.is_none_or(|at| at > now)
}

/// Whose token of this kind it is. Attempts with one that is known and dead are recorded in the audit: somebody may have stolen it.
///
/// # Errors
/// `ENROLMENT_TOKEN_INVALID` for whatever is no living token; the database's.
pub async fn admit(deployer: &Deployer, origin: &Origin, kind: NodeTokenKind, text: &str) -> Result<Bearer> {
    let token = NodeToken::parse(kind, text).ok_or_else(invalid)?;
    let row = node_enrolment::Entity::find_by_id(token.prefix()).one(deployer.db.pool()).await?;
    let row = row.filter(|row| row.kind == kind.as_str() && token.matches(&row.hash)).ok_or_else(invalid)?;
    let (action, of) = match kind {
        NodeTokenKind::Enrolment => ("enrollNode", "enrolment"),
        NodeTokenKind::Node => ("rotateNode", "node"),
    };
    let login = format!("{of}:{}", row.id);
    let viewer = Viewer {
        display_name: login.clone(),
        login,
        groups: Default::default(),
        key_id: Some(row.id.clone()),
        origin: origin.clone(),
    };
    let bearer = Bearer { row, viewer };
    if lives(&bearer.row, deployer.db.now().await?) && stands(deployer, kind, &bearer.row).await? {
        return Ok(bearer);
    }
    let refused = invalid();
    bearer.act(deployer, action).turned_down(&refused).await;
    Err(refused)
}

/// Whether whoever made a one-time token may still administer the infrastructure. What a node got stays good: it goes by itself, or is released.
async fn stands(deployer: &Deployer, kind: NodeTokenKind, row: &node_enrolment::Model) -> Result<bool> {
    if kind == NodeTokenKind::Node {
        return Ok(true);
    }
    let Some(maker) = keys::viewer_of(&deployer.db, &row.created_by).await? else { return Ok(false) };
    if let Some(key) = &row.created_with
        && !keys::lives(&deployer.db, key).await?
    {
        return Ok(false);
    }
    let level = rights::infrastructure_level(deployer.db.pool(), &maker, &row.infrastructure_id).await?;
    Ok(level >= Level::Admin)
}

/// A token that is to be made.
pub(super) struct New<'a> {
    pub(super) kind: NodeTokenKind,
    pub(super) infrastructure: &'a str,
    pub(super) node_name: Option<&'a str>,
    pub(super) created_by: &'a str,
    pub(super) created_with: Option<&'a str>,
    pub(super) expires_at: Option<i64>,
}

/// Makes one; the caller holds the infrastructure's lock.
pub(super) async fn insert(tx: &Tx, new: New<'_>) -> Result<(node_enrolment::Model, NodeToken)> {
    let now = tx.now().await?;
    loop {
        let token = NodeToken::generate(new.kind);
        let row = node_enrolment::Model {
            id: token.prefix().to_owned(),
            infrastructure_id: new.infrastructure.to_owned(),
            kind: new.kind.as_str().to_owned(),
            node_name: new.node_name.map(str::to_owned),
            hash: token.hash(),
            created_at: now,
            created_by: new.created_by.to_owned(),
            created_with: new.created_with.map(str::to_owned),
            expires_at: new.expires_at,
            used_at: None,
        };
        let active = node_enrolment::ActiveModel {
            id: Set(row.id.clone()),
            infrastructure_id: Set(row.infrastructure_id.clone()),
            kind: Set(row.kind.clone()),
            node_name: Set(row.node_name.clone()),
            hash: Set(row.hash.clone()),
            created_at: Set(row.created_at),
            created_by: Set(row.created_by.clone()),
            created_with: Set(row.created_with.clone()),
            expires_at: Set(row.expires_at),
            used_at: Set(None),
        };
        let result =
            node_enrolment::Entity::insert(active).on_conflict_do_nothing().exec_without_returning(&**tx).await?;
        // Two prefixes may meet by chance: draw again.
        if inserted(&result) {
            return Ok((row, token));
        }
    }
}

/// The credentials of one node are dead from now on; without a name, those of the only one.
pub(super) async fn forget(tx: &Tx, infrastructure: &str, node_name: Option<&str>) -> Result<()> {
    use node_enrolment::Column;
    let named = match node_name {
        Some(name) => Column::NodeName.eq(name),
        None => Column::NodeName.is_null(),
    };
    node_enrolment::Entity::delete_many()
        .filter(Column::InfrastructureId.eq(infrastructure))
        .filter(Column::Kind.eq(NodeTokenKind::Node.as_str()))
        .filter(named)
        .exec(&**tx)
        .await?;
    Ok(())
}

/// All tokens and credentials of an infrastructure are dead from now on.
pub(crate) async fn forget_all(tx: &Tx, infrastructure: &str) -> Result<()> {
    node_enrolment::Entity::delete_many()
        .filter(node_enrolment::Column::InfrastructureId.eq(infrastructure))
        .exec(&**tx)
        .await?;
    Ok(())
}
