//! Drift: what was found on the nodes since the last updates. Removals: deployments that go when an update has done on the node what was asked for.

use sea_orm_migration::prelude::*;

/// Tables `drift` and `removal`, and the chore `drift`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: [&str; 3] = [
    "CREATE TABLE drift (
  deployment_id TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  requested_at BIGINT NOT NULL,
  begun_at BIGINT NOT NULL,
  checked_at BIGINT,
  differences TEXT NOT NULL,
  failure TEXT,
  PRIMARY KEY (deployment_id)
)",
    "CREATE TABLE removal (
  deployment_id TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  PRIMARY KEY (deployment_id)
)",
    "INSERT INTO chore (name, at) VALUES ('drift', 0)",
];

const DOWN: [&str; 3] = ["DROP TABLE drift", "DROP TABLE removal", "DELETE FROM chore WHERE name = 'drift'"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in UP {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in DOWN {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
