//! What a node does by itself: it enrolls, changes what it said, and leaves.

use engine::secrets::{NodeToken, NodeTokenKind};
use entities::node_enrolment;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::{Map, json};

use super::credentials::{self, Bearer, New, invalid};
use crate::{
    Deployer,
    audit::act::Act,
    error::Result,
    infrastructures::{Changing, NodeOffer},
};

/// A node that enrolled, or changed what it said.
#[derive(Debug)]
pub struct Enrolled {
    /// The infrastructure that it is a node of.
    pub infrastructure_id: String,
    /// Its name among several nodes; None for an only one.
    pub node_name: Option<String>,
    /// Its name for itself.
    pub node_id: String,
    /// With which it changes what it said, and leaves. Shown this once.
    pub credential: NodeToken,
}

/// A node that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The infrastructure that it was a node of.
    pub infrastructure_id: String,
    /// The name that it had among several nodes; None for an only one.
    pub node_name: Option<String>,
}

/// A node enrolls with a one-time token: it is made, or takes the place of the node that had its name, with its URL and key, as managed. The credential
/// of that one dies, and the token is used up. What is refused leaves the token as it was.
///
/// # Errors
/// `ENROLMENT_TOKEN_INVALID`; `NODE_NAME_TAKEN`, `NODE_LIST_INVALID`, `ID_INVALID`; one for each thing that is wrong with the offer.
pub async fn enroll(deployer: &Deployer, bearer: &Bearer, offer: NodeOffer) -> Result<Enrolled> {
    let act = &bearer.act(deployer, "enrollNode");
    act.run(|| enroll_once(deployer, bearer, offer.clone(), act)).await
}

async fn enroll_once(deployer: &Deployer, bearer: &Bearer, offer: NodeOffer, act: &Act<'_>) -> Result<Enrolled> {
    let tx = deployer.db.begin().await?;
    let row = bearer.lock(&tx, act).await?;
    let used = node_enrolment::Entity::update_many()
        .col_expr(node_enrolment::Column::UsedAt, tx.now().await?.into())
        .filter(node_enrolment::Column::Id.eq(&bearer.row.id))
        .filter(node_enrolment::Column::Kind.eq(NodeTokenKind::Enrolment.as_str()))
        .filter(node_enrolment::Column::UsedAt.is_null())
        .exec(&*tx)
        .await?;
    if used.rows_affected != 1 {
        return Err(invalid());
    }
    let by = bearer.login();
    act.note(Map::from_iter([("enrolmentTokenCreatedBy".to_owned(), json!(bearer.row.created_by))]));
    let (infrastructure_id, node_id) = (row.id.clone(), offer.node_id.clone());
    let mut changing = Changing::of(row)?;
    let node_name = changing.enter(deployer, &tx, bearer.row.node_name.as_deref(), offer).await?;
    changing.write(&tx, by).await?;
    credentials::forget(&tx, &infrastructure_id, node_name.as_deref()).await?;
    let new = New {
        kind: NodeTokenKind::Node,
        infrastructure: &infrastructure_id,
        node_name: node_name.as_deref(),
        created_by: by,
        created_with: None,
        expires_at: None,
    };
    let (_, credential) = credentials::insert(&tx, new).await?;
    act.commit(tx).await?;
    tracing::info!(infrastructure.id = infrastructure_id, node.id = node_id, by, "a node enrolled");
    Ok(Enrolled { infrastructure_id, node_name, node_id, credential })
}

/// A node changes its URL, key and settings with its credential, and gets a new one: the old one is dead.
///
/// # Errors
/// `ENROLMENT_TOKEN_INVALID`; `NODE_LIST_INVALID`; one for each thing that is wrong with the offer. Then the credential is as good as before.
pub async fn rotate(deployer: &Deployer, bearer: &Bearer, offer: NodeOffer) -> Result<Enrolled> {
    let act = &bearer.act(deployer, "rotateNode");
    act.run(|| rotate_once(deployer, bearer, offer.clone(), act)).await
}

async fn rotate_once(deployer: &Deployer, bearer: &Bearer, offer: NodeOffer, act: &Act<'_>) -> Result<Enrolled> {
    let tx = deployer.db.begin().await?;
    let row = bearer.lock(&tx, act).await?;
    let (infrastructure_id, node_id) = (row.id.clone(), offer.node_id.clone());
    let mut changing = Changing::of(row)?;
    let name = bearer.row.node_name.as_deref();
    if bearer.row.kind != NodeTokenKind::Node.as_str() || changing.is_managed(name) != Some(true) {
        return Err(invalid());
    }
    let node_name = changing.enter(deployer, &tx, name, offer).await?;
    changing.write(&tx, bearer.login()).await?;
    credentials::forget(&tx, &infrastructure_id, name).await?;
    let new = New {
        kind: NodeTokenKind::Node,
        infrastructure: &infrastructure_id,
        node_name: name,
        created_by: &bearer.row.created_by,
        created_with: None,
        expires_at: None,
    };
    let (_, credential) = credentials::insert(&tx, new).await?;
    act.commit(tx).await?;
    Ok(Enrolled { infrastructure_id, node_name, node_id, credential })
}

/// A node leaves, with its key and its credential. One of several goes from the list; an only one leaves the infrastructure without URL and key.
///
/// # Errors
/// `ENROLMENT_TOKEN_INVALID`.
pub async fn remove(deployer: &Deployer, bearer: &Bearer) -> Result<Left> {
    let act = &bearer.act(deployer, "removeNode");
    act.run(|| remove_once(deployer, bearer, act)).await
}

async fn remove_once(deployer: &Deployer, bearer: &Bearer, act: &Act<'_>) -> Result<Left> {
    let tx = deployer.db.begin().await?;
    let row = bearer.lock(&tx, act).await?;
    let infrastructure_id = row.id.clone();
    let mut changing = Changing::of(row)?;
    let name = bearer.row.node_name.as_deref();
    if bearer.row.kind != NodeTokenKind::Node.as_str() || changing.is_managed(name) != Some(true) {
        return Err(invalid());
    }
    changing.leave(name);
    changing.write(&tx, bearer.login()).await?;
    credentials::forget(&tx, &infrastructure_id, name).await?;
    act.commit(tx).await?;
    Ok(Left { infrastructure_id, node_name: bearer.row.node_name.clone() })
}
