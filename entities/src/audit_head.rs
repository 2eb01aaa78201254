//! The end of the audit's chain: one row, which whoever appends holds.

use sea_orm::entity::prelude::*;

/// The end of the audit's chain: one row, which whoever appends holds.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_head")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The newest row's number; 0 when there is none.
    pub seq: i64,
    /// The newest row's time, in µs since the Unix epoch.
    pub at: i64,
    /// The newest row's hash.
    pub hash: String,
    /// The key that signs, sealed with the master key.
    pub sealed_key: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
