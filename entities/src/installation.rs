//! This installation: one row.

use sea_orm::entity::prelude::*;

/// This installation: one row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    /// Random, 32 hexadecimal digits. What it makes on platforms is told by it from another installation's work; a copy of the database has the same.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
