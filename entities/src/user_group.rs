//! A group of users; rights are given to groups alone.

use sea_orm::entity::prelude::*;

/// A group of users; rights are given to groups alone.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_group")]
pub struct Model {
    /// Unique.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// What it is for.
    pub description: String,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Its members may publish API services.
    pub may_publish_services: bool,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
