//! A deployment that goes when an update has done on the node what its deletion asks for.

use sea_orm::entity::prelude::*;

/// A deployment that goes when an update has done on the node what its deletion asks for.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "removal")]
pub struct Model {
    /// The deployment.
    #[sea_orm(primary_key, auto_increment = false)]
    pub deployment_id: String,
    /// The update: if it fails, the deployment stays.
    pub run_id: i64,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
