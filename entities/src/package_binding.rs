//! A package id that a node has imported stays bound to its SHA-256, also after deletion.

use sea_orm::entity::prelude::*;

/// A package id that a node has imported stays bound to its SHA-256, also after deletion.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "package_binding")]
pub struct Model {
    /// The published project.
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_key: String,
    /// The bundle.
    #[sea_orm(primary_key, auto_increment = false)]
    pub bundle_id: String,
    /// What it means for good.
    pub sha256: String,
    /// When, in µs since the Unix epoch.
    pub bound_at: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
