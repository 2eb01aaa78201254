//! Workers that come back: what they were at when they were lost did them no harm.

use sea_orm_migration::prelude::*;

/// `worker.came_back_at`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("ALTER TABLE worker ADD COLUMN came_back_at BIGINT").await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("ALTER TABLE worker DROP COLUMN came_back_at").await.map(drop)
    }
}
