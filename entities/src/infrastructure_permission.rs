//! What a group may do on an infrastructure.

use sea_orm::entity::prelude::*;

/// What a group may do on an infrastructure.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "infrastructure_permission")]
pub struct Model {
    /// The infrastructure.
    #[sea_orm(primary_key, auto_increment = false)]
    pub infrastructure_id: String,
    /// The group.
    #[sea_orm(primary_key, auto_increment = false)]
    pub group_name: String,
    /// 1 VIEW, 2 DEPLOY, 3 ADMIN; each contains those before.
    pub level: i32,
    /// Its place in the list as it was given; those of earlier versions have none (0).
    pub position: i32,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
