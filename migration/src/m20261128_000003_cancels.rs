//! Wishes to cancel are found by themselves, however long the line of unfinished runs is.

use sea_orm_migration::prelude::*;

/// The index `run_cancel`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE INDEX run_cancel ON run (cancel_requested_at, id) WHERE ended_at IS NULL AND cancel_requested_at IS NOT NULL";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP INDEX run_cancel").await.map(drop)
    }
}
