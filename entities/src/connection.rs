//! Whose credentials reach a platform, and where they may be sent.

use sea_orm::entity::prelude::*;

/// Whose credentials reach a platform, and where they may be sent.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connection")]
pub struct Model {
    /// Unique, case-sensitive.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Its type, such as AWS.
    pub kind: String,
    /// JSON, as its type's schema describes it; secrets by reference.
    pub settings: String,
    /// Counts changes; editors name the one they saw.
    pub version: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// When, in µs since the Unix epoch.
    pub updated_at: i64,
    /// Who: a login.
    pub updated_by: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
