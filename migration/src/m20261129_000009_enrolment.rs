//! Nodes register themselves: one-time tokens to enroll, and the credentials of nodes that did.

use sea_orm_migration::prelude::*;

/// Table `node_enrolment`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: [&str; 2] = [
    "CREATE TABLE node_enrolment (
  id TEXT NOT NULL,
  infrastructure_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  node_name TEXT,
  hash TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  created_with TEXT,
  expires_at BIGINT,
  used_at BIGINT,
  PRIMARY KEY (id)
)",
    "CREATE INDEX node_enrolment_infrastructure ON node_enrolment (infrastructure_id, kind)",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in UP {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE node_enrolment").await.map(drop)
    }
}
