//! What Dataiku's client sets and expects to read back.

use sea_orm_migration::prelude::*;

/// `published_project.other`, `published_project.updated_by`, `api_key.description`, `api_key.created_by`, `account.email`, `bundle.design_node`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const COLUMNS: [(&str, &str); 6] = [
    ("published_project", "other"),
    ("published_project", "updated_by"),
    ("api_key", "description"),
    ("api_key", "created_by"),
    ("account", "email"),
    ("bundle", "design_node"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS {
            let sql = format!("ALTER TABLE {table} ADD COLUMN {column} TEXT");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in COLUMNS {
            let sql = format!("ALTER TABLE {table} DROP COLUMN {column}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
