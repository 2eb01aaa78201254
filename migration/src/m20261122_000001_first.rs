//! The first schema.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See `first.sql`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        // Rows of `run` are updated at every edge: room on the page keeps that update out of the indices.
        let fillfactor = match db.get_database_backend() {
            DbBackend::Postgres => "WITH (fillfactor = 60)",
            _ => "",
        };
        for statement in include_str!("first.sql").replace("/*fillfactor 60*/", fillfactor).split(";\n") {
            if !statement.trim().is_empty() {
                db.execute_unprepared(statement).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("the first schema has nothing to go back to: restore a backup".to_owned()))
    }
}
