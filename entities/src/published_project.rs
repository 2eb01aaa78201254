//! A collection of bundles that can be deployed.

use sea_orm::entity::prelude::*;

/// A collection of bundles that can be deployed.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "published_project")]
pub struct Model {
    /// Unique.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// What people read.
    pub name: String,
    /// login; has every right on it.
    pub owner: String,
    /// Counts changes of settings.
    pub version: i64,
    /// The newest version that somebody else made than the one after it: a copy from before it lacks others' changes.
    pub other_version: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// JSON: what clients keep here that means nothing to us.
    pub other: Option<String>,
    /// Who changed it last: a login; None is whoever made it.
    pub updated_by: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
