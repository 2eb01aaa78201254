//! One execution that makes a deployment so. Narrow: the spec is event 1's data. Written by `engine::runs` alone.

use sea_orm::entity::prelude::*;

/// One execution that makes a deployment so. Narrow: the spec is event 1's data. Written by `engine::runs` alone.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "run")]
pub struct Model {
    /// `engine::ids::RunId`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The deployment.
    pub deployment_id: String,
    /// From 1 within the deployment, in order of commit.
    pub run_no: i64,
    /// A projection of the journal, written in the same commit.
    pub status: String,
    /// The fence: grows with each claim.
    pub epoch: i64,
    /// The newest event.
    pub seq: i64,
    /// Who holds it; None when nobody does.
    pub worker_id: Option<i64>,
    /// Index of the step under way, from 0.
    pub step: Option<i64>,
    /// Its attempt, from 1; 0 before the first.
    pub attempt: i64,
    /// Not before, µs of the database; None is at once.
    pub wake_at: Option<i64>,
    /// Who: a login.
    pub requester: String,
    /// µs; unique within the deployment.
    pub requested_at: i64,
    /// µs of the first claim.
    pub started_at: Option<i64>,
    /// When, in µs since the Unix epoch.
    pub ended_at: Option<i64>,
    /// µs; the next edge or claim makes an event of it.
    pub cancel_requested_at: Option<i64>,
    /// Who: a login.
    pub cancel_requested_by: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
