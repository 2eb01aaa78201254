//! What was found on a deployment's node since its last update.

use sea_orm::entity::prelude::*;

/// What was found on a deployment's node since its last update.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "drift")]
pub struct Model {
    /// The deployment.
    #[sea_orm(primary_key, auto_increment = false)]
    pub deployment_id: String,
    /// The update whose receipt was compared.
    pub run_id: i64,
    /// When that one was requested: what is found holds as long as no later update succeeds.
    pub requested_at: i64,
    /// When the newest check began, in µs of the database; two processes don't check at once.
    pub begun_at: i64,
    /// When the node was compared; None when it never was.
    pub checked_at: Option<i64>,
    /// JSON: a list of `targets::target::Difference`.
    pub differences: String,
    /// JSON: `engine::failure::Failure`, why the node could not be compared.
    pub failure: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
