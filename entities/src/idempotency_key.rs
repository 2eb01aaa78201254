//! The first answer to a repeated request. Kept 7 days.

use sea_orm::entity::prelude::*;

/// The first answer to a repeated request. Kept 7 days.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_key")]
pub struct Model {
    /// Whose key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub login: String,
    /// For which deployment.
    #[sea_orm(primary_key, auto_increment = false)]
    pub deployment_id: String,
    /// As the client named it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of the request's own arguments, hex.
    pub arguments: String,
    /// What it answered.
    pub run_id: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
