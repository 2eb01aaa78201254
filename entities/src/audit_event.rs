//! One change that was made or refused. Rows are never changed; each holds the hash of the one before.

use sea_orm::entity::prelude::*;

/// One change that was made or refused. Rows are never changed; each holds the hash of the one before.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_event")]
pub struct Model {
    /// From 1, without a gap.
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// Random: names the row without telling how many there are.
    pub id: String,
    /// When, in µs since the Unix epoch.
    pub at: i64,
    /// Who.
    pub login: String,
    /// By which key: its id, never the key.
    pub key_id: Option<String>,
    /// Which way it came.
    pub via: String,
    /// The client's address, as the API saw it.
    pub address: Option<String>,
    /// The request's number in the log.
    pub request_id: Option<String>,
    /// The name of the mutation.
    pub action: String,
    /// What kind of thing was to be changed.
    pub object_kind: String,
    /// Which one.
    pub object_id: String,
    /// The infrastructure that it concerns.
    pub infrastructure_id: Option<String>,
    /// The published project that it concerns.
    pub project_key: Option<String>,
    /// DONE, REFUSED or FAILED.
    pub outcome: String,
    /// JSON: why not.
    pub codes: String,
    /// JSON: what changed, as it was.
    pub old_values: String,
    /// JSON: what changed, as it is.
    pub new_values: String,
    /// JSON: the updates that it made or ended.
    pub run_ids: String,
    /// How many equal ones this row stands for.
    pub times: i64,
    /// The hash of the row before; empty in the first.
    pub prev: String,
    /// SHA-256 of all of this, hex.
    pub hash: String,
    /// HMAC-SHA256 of the hash with the audit's key, hex.
    pub signature: Option<String>,
}

/// Rows are joined by named queries, not by declared relations.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
