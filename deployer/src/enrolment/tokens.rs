//! One-time tokens, as an infrastructure's administrators make, see and revoke them.

use std::collections::BTreeMap;

use engine::{
    db::Tx,
    secrets::{NodeToken, NodeTokenKind},
};
use entities::node_enrolment;
use sea_orm::{ColumnTrait as _, Condition, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::credentials::{self, New};
use crate::{
    Deployer,
    audit::{Object, ObjectKind, act::Act},
    error::{Error, Problems, Result},
    infrastructures::{Changing, lock},
    keys, names,
    rights::{self, Level},
    text,
    viewer::Viewer,
};

/// So long lives a token at most, in minutes: a week.
pub const LONGEST_MINUTES: i64 = 7 * 24 * 60;
/// So many living tokens may one infrastructure have, and so many dead ones are listed.
pub const MOST_TOKENS: u64 = 100;
const MINUTE_MICROS: i64 = 60_000_000;

/// A one-time token, without its secret part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// `slwe_` and 8 characters: names it without giving it away.
    pub id: String,
    /// The node that it is for, among several; None is for the only one, or lets the node choose.
    pub node_name: Option<String>,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// µs.
    pub expires_at: i64,
    /// When a node enrolled with it, in µs.
    pub used_at: Option<i64>,
}

impl From<node_enrolment::Model> for EnrolmentToken {
    fn from(row: node_enrolment::Model) -> Self {
        Self {
            id: row.id,
            node_name: row.node_name,
            created_at: row.created_at,
            created_by: row.created_by,
            expires_at: row.expires_at.unwrap_or(i64::MAX),
            used_at: row.used_at,
        }
    }
}

fn one_time(infrastructure: &str) -> Condition {
    Condition::all()
        .add(node_enrolment::Column::InfrastructureId.eq(infrastructure))
        .add(node_enrolment::Column::Kind.eq(NodeTokenKind::Enrolment.as_str()))
}

fn act<'a>(deployer: &'a Deployer, viewer: &Viewer, action: &'static str, id: &str) -> Act<'a> {
    Act::new(deployer, viewer, action, Object::new(ObjectKind::Infrastructure, id))
}

/// Makes a one-time token. The second part of the answer is shown once, and never again. `node_name` binds it to one of several nodes, which need
/// not be there yet; it dies with its use, after `expires_in_minutes` (1 to [`LONGEST_MINUTES`]), or when its maker may not administer the
/// infrastructure any more. The infrastructure's administrators alone.
///
/// # Errors
/// `NOT_FOUND`; `FORBIDDEN`, also with a key that was minted for a run's hooks; `EXPIRY_INVALID`, also when it would outlive the key that asks;
/// `ID_INVALID`; `NODE_LIST_INVALID` for a name where there is one node; `TOO_MANY_TOKENS`.
pub async fn create_token(
    deployer: &Deployer,
    viewer: &Viewer,
    infrastructure_id: &str,
    node_name: Option<&str>,
    expires_in_minutes: i64,
) -> Result<(EnrolmentToken, NodeToken)> {
    let act = &act(deployer, viewer, "createEnrolmentToken", infrastructure_id);
    act.run(|| create_once(deployer, viewer, infrastructure_id, node_name, expires_in_minutes, act)).await
}

async fn create_once(
    deployer: &Deployer,
    viewer: &Viewer,
    id: &str,
    node_name: Option<&str>,
    minutes: i64,
    act: &Act<'_>,
) -> Result<(EnrolmentToken, NodeToken)> {
    rights::require_infrastructure(deployer.db.pool(), viewer, id, Level::Admin, "infrastructureId").await?;
    let until = keys::own_expiry(deployer, viewer).await?;
    let tx = deployer.db.begin().await?;
    let row = lock(&tx, viewer, id, Level::Admin, "infrastructureId").await?;
    act.before(&tx).await?;
    let now = tx.now().await?;
    let expires_at = now.saturating_add(minutes.saturating_mul(MINUTE_MICROS));
    let mut problems = Problems::default();
    if !(1..=LONGEST_MINUTES).contains(&minutes) {
        problems.add("EXPIRY_INVALID", "expiresInMinutes", format!("Give 1 to {LONGEST_MINUTES} minutes."));
    } else if until.is_some_and(|until| expires_at > until) {
        let message = "The key that you use expires, and a token that it makes must not outlive it. Choose less time.";
        problems.add("EXPIRY_INVALID", "expiresInMinutes", message);
    }
    if let Some(name) = node_name {
        names::check(name, "nodeName", &mut problems);
        if !Changing::of(row)?.is_multi_node() {
            let message = "Only the nodes of a multi-node infrastructure have names. Leave this out.";
            problems.add("NODE_LIST_INVALID", "nodeName", message);
        }
    }
    problems.check()?;
    prune(&tx, id, now).await?;
    let living = node_enrolment::Entity::find()
        .filter(one_time(id))
        .filter(node_enrolment::Column::UsedAt.is_null())
        .filter(node_enrolment::Column::ExpiresAt.gt(now))
        .limit(MOST_TOKENS)
        .all(&*tx)
        .await?;
    if living.len() as u64 >= MOST_TOKENS {
        let message = format!("{MOST_TOKENS} tokens of this infrastructure wait to be used. Revoke some of them.");
        return Err(Error::refused("TOO_MANY_TOKENS", message));
    }
    let new = New {
        kind: NodeTokenKind::Enrolment,
        infrastructure: id,
        node_name,
        created_by: &viewer.login,
        created_with: viewer.key_id.as_deref(),
        expires_at: Some(expires_at),
    };
    let (row, token) = credentials::insert(&tx, new).await?;
    act.commit(tx).await?;
    Ok((row.into(), token))
}

/// Dead ones are kept for people to see, but not all of them.
async fn prune(tx: &Tx, infrastructure: &str, now: i64) -> Result<()> {
    use node_enrolment::Column;
    let dead = Condition::any().add(Column::UsedAt.is_not_null()).add(Column::ExpiresAt.lte(now));
    let rows = node_enrolment::Entity::find()
        .filter(one_time(infrastructure))
        .filter(dead)
        .order_by_desc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .limit(2 * MOST_TOKENS)
        .all(&**tx)
        .await?;
    let beyond: Vec<_> = rows.into_iter().skip(MOST_TOKENS as usize).map(|row| row.id).collect();
    if !beyond.is_empty() {
        node_enrolment::Entity::delete_many().filter(Column::Id.is_in(beyond)).exec(&**tx).await?;
    }
    Ok(())
}

/// Revokes a one-time token that was not used yet, for good. The infrastructure's administrators alone. A node's credential dies when the node is
/// released.
///
/// # Errors
/// `NOT_FOUND` when there is no such infrastructure, or it has no such token that could still be used; `FORBIDDEN`.
pub async fn revoke_token(deployer: &Deployer, viewer: &Viewer, infrastructure_id: &str, id: &str) -> Result<()> {
    let act = &act(deployer, viewer, "revokeEnrolmentToken", infrastructure_id);
    act.run(|| revoke_once(deployer, viewer, infrastructure_id, id, act)).await
}

async fn revoke_once(
    deployer: &Deployer,
    viewer: &Viewer,
    infrastructure_id: &str,
    id: &str,
    act: &Act<'_>,
) -> Result<()> {
    rights::require_infrastructure(deployer.db.pool(), viewer, infrastructure_id, Level::Admin, "infrastructureId")
        .await?;
    if !text::storable(id) {
        return Err(Error::not_found("id"));
    }
    let tx = deployer.db.begin().await?;
    lock(&tx, viewer, infrastructure_id, Level::Admin, "infrastructureId").await?;
    act.before(&tx).await?;
    let gone = node_enrolment::Entity::delete_many()
        .filter(one_time(infrastructure_id))
        .filter(node_enrolment::Column::Id.eq(id))
        .filter(node_enrolment::Column::UsedAt.is_null())
        .exec(&*tx)
        .await?;
    if gone.rows_affected == 0 {
        return Err(Error::not_found("id"));
    }
    act.commit(tx).await
}

/// The one-time tokens of these infrastructures, by id, newest first, for loaders: of those that the viewer administers. Used and expired ones, too,
/// the newest [`MOST_TOKENS`] of them.
///
/// # Errors
/// The database's.
pub async fn tokens_by_infrastructures(
    deployer: &Deployer,
    viewer: &Viewer,
    ids: &[String],
) -> Result<BTreeMap<String, Vec<EnrolmentToken>>> {
    use node_enrolment::Column;
    let db = deployer.db.pool();
    let levels = rights::infrastructure_levels(db, viewer, ids).await?;
    let mine = ids.iter().filter(|id| text::storable(id) && levels.get(*id) == Some(&Level::Admin)).cloned();
    let mut all: BTreeMap<String, Vec<EnrolmentToken>> = mine.map(|id| (id, Vec::new())).collect();
    let rows = node_enrolment::Entity::find()
        .filter(Column::InfrastructureId.is_in(all.keys().cloned()))
        .filter(Column::Kind.eq(NodeTokenKind::Enrolment.as_str()))
        .order_by_desc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .all(db)
        .await?;
    for row in rows {
        all.entry(row.infrastructure_id.clone()).or_default().push(row.into());
    }
    Ok(all)
}
