//! A place to deploy to.

use sea_orm::entity::prelude::*;

/// A place to deploy to.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "infrastructure")]
pub struct Model {
    /// Unique, case-sensitive.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The target type, such as AUTOMATION_NODE.
    pub kind: String,
    /// A stage of its kind; one that vanished shows as "no stage".
    pub stage: String,
    /// JSON: `deployer::infrastructures::Settings`.
    pub settings: String,
    /// The admin key: a row of `secret`, or none was entered yet.
    pub key_ref: Option<String>,
    /// The governance source's key: a row of `secret`, or none was entered.
    pub governance_key_ref: Option<String>,
    /// The admin keys of several nodes. JSON: rows of `secret` by the nodes' names; NULL is none.
    pub node_key_refs: Option<String>,
    /// Counts changes; editors name the one they saw.
    pub version: i64,
    /// The newest version that somebody else made than the one after it: a copy from before it lacks others' changes.
    pub other_version: i64,
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
