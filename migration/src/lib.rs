//! The schema of both sizes, step by step. Migrations expand first and contract a release later, so that two neighbouring versions run
//! together.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{
        ConnectionTrait, DatabaseConnection, DbBackend, SqliteTransactionMode, Statement, TransactionOptions,
        TransactionTrait,
    },
};

mod m20261122_000001_first;

/// All migrations, in order.
struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_first::Migration)]
    }
}

/// Any constant that nobody else locks in this database: "slipway" in ASCII.
const ADVISORY_LOCK: i64 = 0x73_6c_69_70_77_61_79;

/// Brings the schema up to date and answers how many migrations that took. Safe from several processes at once: on PostgreSQL an advisory lock
/// lets one do it while the others wait; on SQLite the transaction holds the file.
///
/// # Errors
/// The database's error, as it is; nothing is half-applied, since a schema change is part of the transaction.
pub async fn migrate(db: &DatabaseConnection) -> Result<usize, DbErr> {
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let options = TransactionOptions {
        sqlite_transaction_mode: (!postgres).then_some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let transaction = db.begin_with_options(options).await?;
    if postgres {
        let lock = format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})");
        transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, lock)).await?;
    }
    // Counted under the lock: whoever waited finds that nothing is left to do.
    let missing = pending(&transaction).await?;
    if missing > 0 {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await?;
    Ok(missing)
}

/// How many migrations this database still lacks. A process that serves says so in its readiness instead of failing later. Only reads.
///
/// # Errors
/// The database's error, as it is.
pub async fn pending<'c, C>(db: &'c C) -> Result<usize, DbErr>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let all = Migrator::migrations();
    let table = Migrator::migration_table_name().to_string();
    if !SchemaManager::new(db).has_table(&table).await? {
        return Ok(all.len());
    }
    let applied = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), format!("SELECT version FROM {table}")))
        .await?;
    let applied = applied.iter().map(|row| row.try_get("", "version")).collect::<Result<Vec<String>, _>>()?;
    Ok(all.iter().filter(|migration| !applied.iter().any(|name| name == migration.name())).count())
}
