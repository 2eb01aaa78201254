//! What a group may do with a connection.

use sea_orm::entity::prelude::*;

/// What a group may do with a connection.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connection_permission")]
pub struct Model {
    /// The connection.
    #[sea_orm(primary_key, auto_increment = false)]
    pub connection_id: String,
    /// The group.
    #[sea_orm(primary_key, auto_increment = false)]
    pub group_name: String,
    /// 1 see it, 2 use it for infrastructures, 3 administer it; each contains those before.
    pub level: i32,
    /// Its place in the list as it was given.
    pub position: i32,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
