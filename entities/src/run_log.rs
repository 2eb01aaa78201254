//! What hooks and nodes said, line by line. No secret.

use sea_orm::entity::prelude::*;

/// What hooks and nodes said, line by line. No secret.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "run_log")]
pub struct Model {
    /// The run.
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_id: i64,
    /// From 1; may have gaps.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// When, in µs since the Unix epoch.
    pub at: i64,
    /// Index of the step.
    pub step: Option<i64>,
    /// Its attempt.
    pub attempt: Option<i64>,
    /// STEP, STDOUT, STDERR or TRACEBACK.
    pub stream: String,
    /// For infrastructure administrators alone.
    pub admins_only: bool,
    /// At most 8 KiB.
    pub line: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
