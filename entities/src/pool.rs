//! The limit of one kind of concurrency.

use sea_orm::entity::prelude::*;

/// The limit of one kind of concurrency.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pool")]
pub struct Model {
    /// Such as `hooks`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// At once; lowering never kills.
    pub slot_limit: i32,
    /// The next waiter's place.
    pub next_ticket: i64,
    /// Slots granted so far.
    pub grants: i64,
    /// Waiters that gave up so far.
    pub timeouts: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
