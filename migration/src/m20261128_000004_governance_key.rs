//! Infrastructures have a key of their governance source.

use sea_orm_migration::prelude::*;

/// `infrastructure.governance_key_ref`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE infrastructure ADD COLUMN governance_key_ref TEXT";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "ALTER TABLE infrastructure DROP COLUMN governance_key_ref";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }
}
