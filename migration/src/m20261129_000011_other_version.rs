//! Editors learn of others' changes, however many of their own came after them; lists of rights keep their order.

use sea_orm_migration::prelude::*;

/// `other_version` of `infrastructure`, `deployment` and `published_project`; `position` of the rights of the first and last.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const COLUMNS: [(&str, &str, &str); 5] = [
    ("infrastructure", "other_version", "BIGINT"),
    ("deployment", "other_version", "BIGINT"),
    ("published_project", "other_version", "BIGINT"),
    ("infrastructure_permission", "position", "INTEGER"),
    ("published_project_permission", "position", "INTEGER"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column, kind) in COLUMNS {
            let sql = format!("ALTER TABLE {table} ADD COLUMN {column} {kind} NOT NULL DEFAULT 0");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column, _) in COLUMNS {
            let sql = format!("ALTER TABLE {table} DROP COLUMN {column}");
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
