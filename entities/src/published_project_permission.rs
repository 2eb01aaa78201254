//! What a group may do on a published project.

use sea_orm::entity::prelude::*;

/// What a group may do on a published project.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "published_project_permission")]
pub struct Model {
    /// The project.
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_key: String,
    /// The group.
    #[sea_orm(primary_key, auto_increment = false)]
    pub group_name: String,
    /// See it and its bundles.
    pub can_read: bool,
    /// Upload and delete bundles.
    pub can_write: bool,
    /// Deploy its bundles.
    pub can_deploy: bool,
    /// All, and set rights.
    pub can_admin: bool,
    /// Its place in the list as it was given; those of earlier versions have none (0).
    pub position: i32,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
