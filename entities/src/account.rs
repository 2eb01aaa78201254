//! A person or a technical account.

use sea_orm::entity::prelude::*;

/// A person or a technical account.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "account")]
pub struct Model {
    /// Unique; the same on every node.
    #[sea_orm(primary_key, auto_increment = false)]
    pub login: String,
    /// What people read.
    pub display_name: String,
    /// A disabled user is nobody: its keys answer like unknown ones.
    pub enabled: bool,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// For people; nothing is sent there.
    pub email: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
