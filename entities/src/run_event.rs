//! The journal: insert-only; after event 1 written by the lease holder alone.

use sea_orm::entity::prelude::*;

/// The journal: insert-only; after event 1 written by the lease holder alone.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "run_event")]
pub struct Model {
    /// The run.
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_id: i64,
    /// From 1, without a gap.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// µs of the database at the commit's statement.
    pub at: i64,
    /// Under which it was written.
    pub epoch: i64,
    /// See `engine::journal::Kind`.
    pub kind: String,
    /// Index of the step it speaks of.
    pub step: Option<i64>,
    /// Its attempt.
    pub attempt: Option<i64>,
    /// JSON.
    pub data: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
