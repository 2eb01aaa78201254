//! A key that acts as its user. Only its hash is kept.

use sea_orm::entity::prelude::*;

/// A key that acts as its user. Only its hash is kept.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    /// The part of the key that may be shown.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Whom it acts as.
    pub login: String,
    /// What its maker calls it.
    pub label: String,
    /// SHA-256 of the whole key, hex.
    pub hash: String,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// µs; None never expires.
    pub expires_at: Option<i64>,
    /// µs; kept to the minute.
    pub last_used_at: Option<i64>,
    /// µs; final.
    pub revoked_at: Option<i64>,
    /// Minted for the hooks of this run, and dead at its end.
    pub hooks_run_id: Option<i64>,
    /// What it is for.
    pub description: Option<String>,
    /// Who made it: a login; None is its user.
    pub created_by: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
