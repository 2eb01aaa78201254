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
mod m20261122_000002_came_back;

/// All migrations, in order.
struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_first::Migration), Box::new(m20261122_000002_came_back::Migration)]
    }
}

/// Any constant that nobody else locks in this database: "slipway" in ASCII.
const ADVISORY_LOCK: i64 = 0x73_6c_69_70_77_61_79;

/// What [`migrate`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Migrated {
    /// All of this version's migrations are there; so many of them were applied now.
    Applied(usize),
    /// A later version was here, and applied these besides: all was left as it is.
    Later(Vec<String>),
}

/// Brings the schema up to date. A schema of a later version is left alone: the version before runs on it. Safe from several processes at once:
/// on PostgreSQL an advisory lock lets one do it while the others wait; on SQLite the transaction holds the file.
///
/// # Errors
/// The database's error, as it is; nothing is half-applied, since a schema change is part of the transaction.
pub async fn migrate(db: &DatabaseConnection) -> Result<Migrated, DbErr> {
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
    // Looked at under the lock: whoever waited finds that nothing is left to do.
    let migrated = bring(&transaction).await?;
    transaction.commit().await?;
    Ok(migrated)
}

async fn bring<'c, C>(db: &'c C) -> Result<Migrated, DbErr>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let applied = applied(db).await?;
    let ours: Vec<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let lacking = ours.iter().filter(|name| !applied.contains(name)).count();
    let later: Vec<String> = applied.into_iter().filter(|name| !ours.contains(name)).collect();
    match (lacking, later.is_empty()) {
        (0, false) => Ok(Migrated::Later(later)),
        (_, false) => Err(DbErr::Migration(format!(
            "this database has migrations of another version ({}), and lacks some of this one: is it the right database?",
            later.join(", ")
        ))),
        (lacking, true) => Migrator::up(db, None).await.map(|()| Migrated::Applied(lacking)),
    }
}

/// The names of the migrations that were applied, in order.
async fn applied<'c, C>(db: &'c C) -> Result<Vec<String>, DbErr>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let table = Migrator::migration_table_name().to_string();
    if !SchemaManager::new(db).has_table(&table).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT version FROM {table} ORDER BY version");
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
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
    let applied = applied(db).await?;
    Ok(all.iter().filter(|migration| !applied.iter().any(|name| name == migration.name())).count())
}
