//! A standing intention: this package on this infrastructure, with these settings.

use sea_orm::entity::prelude::*;

/// A standing intention: this package on this infrastructure, with these settings.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deployment")]
pub struct Model {
    /// Unique, case-sensitive.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The published project; never changes.
    pub project_key: String,
    /// Where to; never changes.
    pub infrastructure_id: String,
    /// What.
    pub bundle_id: String,
    /// The project key on the node.
    pub deployed_project_key: String,
    /// JSON: `deployer::deployments::Settings`.
    pub settings: String,
    /// Counts changes; editors name the one they saw.
    pub version: i64,
    /// The newest version that somebody else made than the one after it: a copy from before it lacks others' changes.
    pub other_version: i64,
    /// The number of its newest run; taken under this row's lock.
    pub last_run_no: i64,
    /// When, in µs since the Unix epoch.
    pub created_at: i64,
    /// Who: a login.
    pub created_by: String,
    /// When, in µs since the Unix epoch.
    pub updated_at: i64,
    /// Who: a login.
    pub updated_by: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
