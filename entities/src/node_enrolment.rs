//! A token with which a node registers itself, or the credential of one that did. Only its hash is kept.

use sea_orm::entity::prelude::*;

/// A token with which a node registers itself, or the credential of one that did. Only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "node_enrolment")]
pub struct Model {
    /// The part of the token that may be shown: its mark and 8 random characters.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Whose node it is for.
    pub infrastructure_id: String,
    /// `ENROLMENT` (good once) or `NODE` (of a node that enrolled).
    pub kind: String,
    /// The name of the node among several. None: that of a one-time token is for the node to choose, and an only node has none.
    pub node_name: Option<String>,
    /// SHA-256 of the whole token, hex.
    pub hash: String,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login; a node's credential says by which token it came.
    pub created_by: String,
    /// The API key that made a one-time token: it dies with it.
    pub created_with: Option<String>,
    /// µs; None never expires.
    pub expires_at: Option<i64>,
    /// µs; final.
    pub used_at: Option<i64>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
