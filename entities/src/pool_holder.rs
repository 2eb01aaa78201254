//! A slot in use; valid only while its run is at exactly this epoch, step and attempt and its worker has not ended.

use sea_orm::entity::prelude::*;

/// A slot in use; valid only while its run is at exactly this epoch, step and attempt and its worker has not ended.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pool_holder")]
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
    /// Its place when it waited.
    pub ticket: i64,
    /// Under which it was granted.
    pub epoch: i64,
    /// Whose process holds it.
    pub worker_id: i64,
    /// When, in µs since the Unix epoch.
    pub granted_at: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
