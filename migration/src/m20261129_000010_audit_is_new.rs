//! SQLite's `INSERT OR REPLACE` deletes what is in its way without asking the triggers of `audit_event`: so a record's place is asked for before.
//! PostgreSQL has no such statement: there `ON CONFLICT DO UPDATE` is an update like any other.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// The trigger `audit_event_is_new`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Numbers begin at 1, too.
const SQLITE: &str = "CREATE TRIGGER audit_event_is_new BEFORE INSERT ON audit_event
      WHEN NEW.seq < 1 OR EXISTS (SELECT 1 FROM audit_event WHERE seq = NEW.seq OR id = NEW.id)
      BEGIN SELECT RAISE(ABORT, 'audit_event takes no changes'); END";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() == DbBackend::Sqlite {
            db.execute_unprepared(SQLITE).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() == DbBackend::Sqlite {
            db.execute_unprepared("DROP TRIGGER audit_event_is_new").await?;
        }
        Ok(())
    }
}
