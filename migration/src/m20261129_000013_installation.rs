//! What tells this installation's work on a platform from another one's.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// `installation`: one row with an id that no other installation has.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared("CREATE TABLE installation (id TEXT NOT NULL PRIMARY KEY)").await?;
        let random = match db.get_database_backend() {
            DbBackend::Postgres => "md5(random()::text || clock_timestamp()::text || random()::text)",
            _ => "lower(hex(randomblob(16)))",
        };
        db.execute_unprepared(&format!("INSERT INTO installation (id) VALUES ({random})")).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE installation").await?;
        Ok(())
    }
}
