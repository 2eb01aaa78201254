//! One stage of the list that infrastructures belong to.

use sea_orm::entity::prelude::*;

/// One stage of the list that infrastructures belong to.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "stage")]
pub struct Model {
    /// PROJECT or API: each has a list of its own.
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    /// Unique within its list.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Order, from 0.
    pub position: i32,
    /// What it is for.
    pub description: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
