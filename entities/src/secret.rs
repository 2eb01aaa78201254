//! One immutable version of a secret, sealed. Specs name it by id.

use sea_orm::entity::prelude::*;

/// One immutable version of a secret, sealed. Specs name it by id.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "secret")]
pub struct Model {
    /// Random; the associated data of the sealing.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// `engine::secrets` text form.
    pub sealed: String,
    /// What it belongs to, such as `infrastructure/ID`.
    pub owner: String,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
