//! A deployment hook of an infrastructure.

use sea_orm::entity::prelude::*;

/// A deployment hook of an infrastructure.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hook")]
pub struct Model {
    /// Random.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The infrastructure.
    pub infrastructure_id: String,
    /// PRE or POST.
    pub phase: String,
    /// Order within the phase, from 1.
    pub position: i32,
    /// What people read.
    pub name: String,
    /// A disabled hook is no step of new plans.
    pub enabled: bool,
    /// The code: an immutable row of `hook_code`.
    pub code_ref: String,
    /// A code env that a worker publishes; None is the default.
    pub code_env: Option<String>,
    /// The OS user it runs as; None is the worker's own.
    pub os_user: Option<String>,
    /// How long one attempt may run.
    pub deadline_ms: i64,
    /// RERUN or FAIL.
    pub on_interrupt: String,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
