//! One immutable version of a published project.

use sea_orm::entity::prelude::*;

/// One immutable version of a published project.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "bundle")]
pub struct Model {
    /// The project.
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_key: String,
    /// Unique within it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub bundle_id: String,
    /// Of the archive, hex.
    pub sha256: String,
    /// Bytes.
    pub size: i64,
    /// Where the package store has it.
    pub store_key: String,
    /// As uploaded.
    pub file_name: String,
    /// JSON: `targets::spec::BundleContents`.
    pub contents: String,
    /// JSON: the manifest as read, unknown keys and all.
    pub manifest: String,
    /// Read by inference, without a manifest.
    pub inferred: bool,
    /// From the manifest.
    pub release_notes: String,
    /// When, in µs since the Unix epoch.
    pub uploaded_at: i64,
    /// Who: a login.
    pub uploaded_by: String,
    /// JSON: where it was made, as its manifest says; None for bundles of an earlier version of Slipway.
    pub design_node: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
