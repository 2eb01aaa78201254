//! One immutable version of a hook's code. Specs name it by id.

use sea_orm::entity::prelude::*;

/// One immutable version of a hook's code. Specs name it by id.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hook_code")]
pub struct Model {
    /// Random.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Whose administrators may read it.
    pub infrastructure_id: String,
    /// Python.
    pub code: String,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
