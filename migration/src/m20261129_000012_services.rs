//! API services: connections to the platforms that run them, and who may publish one.

use sea_orm_migration::prelude::*;

/// Tables `connection` and `connection_permission`, a column of `user_group`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: [&str; 3] = [
    "CREATE TABLE connection (
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  settings TEXT NOT NULL,
  version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  updated_by TEXT NOT NULL,
  PRIMARY KEY (id)
)",
    "CREATE TABLE connection_permission (
  connection_id TEXT NOT NULL,
  group_name TEXT NOT NULL,
  level INTEGER NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (connection_id, group_name)
)",
    "ALTER TABLE user_group ADD COLUMN may_publish_services BOOLEAN NOT NULL DEFAULT FALSE",
];

const DOWN: [&str; 3] = [
    "DROP TABLE connection",
    "DROP TABLE connection_permission",
    "ALTER TABLE user_group DROP COLUMN may_publish_services",
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
        for statement in DOWN {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
