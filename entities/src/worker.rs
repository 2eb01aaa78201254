//! One life of a worker process. Its lease holds all its runs and slots together.

use sea_orm::entity::prelude::*;

/// One life of a worker process. Its lease holds all its runs and slots together.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "worker")]
pub struct Model {
    /// `engine::ids::WorkerId`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// Host and process, for people.
    pub name: String,
    /// When, in µs since the Unix epoch.
    pub started_at: i64,
    /// µs of the database.
    pub lease_until: i64,
    /// Final: an ended worker never comes back.
    pub ended_at: Option<i64>,
    /// Since when it takes nothing new, or is asked to, in µs since the Unix epoch.
    pub draining_since: Option<i64>,
    /// JSON: code envs, OS users, plan versions that it can run.
    pub facts: String,
    /// When its process was heard of again after it lost this lease, as another worker, in µs since the Unix epoch.
    pub came_back_at: Option<i64>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
