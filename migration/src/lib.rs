//! The schema of both sizes, step by step. Migrations expand first and contract a release later, so that two neighbouring versions run
//! together.

use std::time::Duration;

use sea_orm_migration::{
    prelude::*,
    sea_orm::{
        ConnectionTrait, DatabaseConnection, DbBackend, RuntimeErr, SqliteTransactionMode, Statement,
        TransactionOptions, TransactionTrait,
    },
};

mod m20261122_000001_first;
mod m20261122_000002_came_back;
mod m20261128_000003_cancels;
mod m20261128_000004_governance_key;
mod m20261128_000005_drift;
mod m20261128_000006_client;
mod m20261128_000007_audit;
mod m20261129_000008_nodes;
mod m20261129_000009_enrolment;
mod m20261129_000010_audit_is_new;
mod m20261129_000011_other_version;
mod m20261129_000012_services;
mod m20261129_000013_installation;

/// All migrations, in order.
struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_first::Migration),
            Box::new(m20261122_000002_came_back::Migration),
            Box::new(m20261128_000003_cancels::Migration),
            Box::new(m20261128_000004_governance_key::Migration),
            Box::new(m20261128_000005_drift::Migration),
            Box::new(m20261128_000006_client::Migration),
            Box::new(m20261128_000007_audit::Migration),
            Box::new(m20261129_000008_nodes::Migration),
            Box::new(m20261129_000009_enrolment::Migration),
            Box::new(m20261129_000010_audit_is_new::Migration),
            Box::new(m20261129_000011_other_version::Migration),
            Box::new(m20261129_000012_services::Migration),
            Box::new(m20261129_000013_installation::Migration),
        ]
    }
}

/// Any constant that nobody else locks in this database: "slipway" in ASCII.
const ADVISORY_LOCK: i64 = 0x73_6c_69_70_77_61_79;

/// How long a change of a table waits for those who use it.
const LOCKED_FOR: &str = "2s";
/// Between two tries, in which all who waited go on.
const PAUSE: Duration = Duration::from_secs(3);
/// About five minutes: a backup of a small installation takes less.
const TRIES: u32 = 60;

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
/// A change of a table that is in use waits for those who use it, and all others wait behind it: heartbeats, too. So it waits for less than a lease,
/// gives way, and tries again.
///
/// # Errors
/// The database's error, as it is; nothing is half-applied, since a schema change is part of the transaction.
pub async fn migrate(db: &DatabaseConnection) -> Result<Migrated, DbErr> {
    for _ in 1..TRIES {
        match try_to(db).await {
            Err(error) if is_in_use(&error) => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
    try_to(db).await
}

async fn try_to(db: &DatabaseConnection) -> Result<Migrated, DbErr> {
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let options = TransactionOptions {
        sqlite_transaction_mode: (!postgres).then_some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let transaction = db.begin_with_options(options).await?;
    if postgres {
        let lock = format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})");
        transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, lock)).await?;
        transaction.execute_unprepared(&format!("SET LOCAL lock_timeout = '{LOCKED_FOR}'")).await?;
    }
    // Looked at under the lock: whoever waited finds that nothing is left to do.
    let migrated = bring(&transaction).await?;
    transaction.commit().await?;
    Ok(migrated)
}

/// PostgreSQL's `lock_not_available`.
fn is_in_use(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner))) = error else {
        return false;
    };
    inner.as_database_error().and_then(|refused| refused.code()).is_some_and(|code| code == "55P03")
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
