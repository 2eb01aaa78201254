//! A step attempt that waits for a slot. A takeover keeps its ticket.

use sea_orm::entity::prelude::*;

/// A step attempt that waits for a slot. A takeover keeps its ticket.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pool_waiter")]
pub struct Model {
    /// The run.
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_id: i64,
    /// The step.
    #[sea_orm(primary_key, auto_increment = false)]
    pub step: i64,
    /// The attempt.
    #[sea_orm(primary_key, auto_increment = false)]
    pub attempt: i64,
    /// The pool.
    pub pool: String,
    /// First come, first served.
    pub ticket: i64,
    /// Under which it waits.
    pub epoch: i64,
    /// Whose process waits.
    pub worker_id: i64,
    /// µs; the window's start.
    pub since: i64,
    /// µs; the window's end, as far as known.
    pub deadline: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
