//! The audit: one row for each change that was made or refused, chained by hashes, and never changed. And whether an account is a person's.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// `audit_event`, `audit_head`, `account.kind`.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 8] = [
    "ALTER TABLE account ADD COLUMN kind TEXT NOT NULL DEFAULT 'PERSONAL'",
    "CREATE TABLE audit_event (
      seq BIGINT NOT NULL,
      id TEXT NOT NULL,
      at BIGINT NOT NULL,
      login TEXT NOT NULL,
      key_id TEXT,
      via TEXT NOT NULL,
      address TEXT,
      request_id TEXT,
      action TEXT NOT NULL,
      object_kind TEXT NOT NULL,
      object_id TEXT NOT NULL,
      infrastructure_id TEXT,
      project_key TEXT,
      outcome TEXT NOT NULL,
      codes TEXT NOT NULL,
      old_values TEXT NOT NULL,
      new_values TEXT NOT NULL,
      run_ids TEXT NOT NULL,
      times BIGINT NOT NULL,
      prev TEXT NOT NULL,
      hash TEXT NOT NULL,
      signature TEXT,
      PRIMARY KEY (seq)
    )",
    "CREATE UNIQUE INDEX audit_event_id ON audit_event (id)",
    "CREATE INDEX audit_event_login ON audit_event (login, seq)",
    "CREATE INDEX audit_event_object ON audit_event (object_kind, object_id, seq)",
    "CREATE INDEX audit_event_infrastructure ON audit_event (infrastructure_id, seq) WHERE infrastructure_id IS NOT NULL",
    // The end of the chain. Whoever appends holds this row: numbers have no gaps.
    "CREATE TABLE audit_head (
      id BIGINT NOT NULL,
      seq BIGINT NOT NULL,
      at BIGINT NOT NULL,
      hash TEXT NOT NULL,
      sealed_key TEXT,
      PRIMARY KEY (id)
    )",
    "INSERT INTO audit_head (id, seq, at, hash, sealed_key) VALUES (1, 0, 0, '', NULL)",
];

/// A slip of the hand changes nothing. Whoever owns the tables can remove this, and is found by the chain.
const SQLITE: [&str; 2] = [
    "CREATE TRIGGER audit_event_stays BEFORE UPDATE ON audit_event
      BEGIN SELECT RAISE(ABORT, 'audit_event takes no changes'); END",
    "CREATE TRIGGER audit_event_remains BEFORE DELETE ON audit_event
      BEGIN SELECT RAISE(ABORT, 'audit_event takes no changes'); END",
];
const POSTGRES: [&str; 2] = [
    "CREATE FUNCTION audit_event_stays() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'audit_event takes no changes'; END $$",
    "CREATE TRIGGER audit_event_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event
      FOR EACH STATEMENT EXECUTE FUNCTION audit_event_stays()",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let guards = if db.get_database_backend() == DbBackend::Postgres { POSTGRES } else { SQLITE };
        for statement in TABLES.iter().chain(&guards) {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration("an audit is not thrown away: restore a backup from before".to_owned()))
    }
}
