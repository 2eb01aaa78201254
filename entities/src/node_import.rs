//! Our own record of what was imported into which node.

use sea_orm::entity::prelude::*;

/// Our own record of what was imported into which node.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "node_import")]
pub struct Model {
    /// The node.
    #[sea_orm(primary_key, auto_increment = false)]
    pub node_url: String,
    /// The project on the node.
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_key: String,
    /// The bundle.
    #[sea_orm(primary_key, auto_increment = false)]
    pub bundle_id: String,
    /// What was sent.
    pub sha256: String,
    /// The node was seen to have it; else it is an intent.
    pub confirmed: bool,
    /// When, in µs since the Unix epoch.
    pub at: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
