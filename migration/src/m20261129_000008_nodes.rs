//! Infrastructures of several nodes have a key for each.

use sea_orm_migration::prelude::*;

/// `infrastructure.node_key_refs`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE infrastructure ADD COLUMN node_key_refs TEXT";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE infrastructure DROP COLUMN node_key_refs";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }
}
