//! The database: opening it, its clock, and the one kind of writing transaction.

use std::{ops::Deref, sync::Arc, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, RuntimeErr,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tokio::{
    net::TcpStream,
    sync::{Mutex, OwnedMutexGuard},
};

mod address;

pub use address::{AddressError, check as check_address};
pub use sea_orm::DbErr;

/// A process that was paused or cut off inside a transaction keeps its locks no longer than this: PostgreSQL ends the session. Else nobody could
/// sweep, and so nobody take over its runs, until it came back. Ours take milliseconds, but for those that ask the package store, which set a bound of
/// their own.
const STANDSTILL: &str = "10s";

/// A server may be just starting: a connection is tried for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long a heartbeat waits for its turn among the writers of its process. Without one it polls SQLite's lock, which writers that follow one another leave no
/// gap in; with one alone it would wait as long as whoever has the turn waits for something else.
const HEARTBEAT_TURN: Duration = Duration::from_secs(1);

/// A pool of connections to PostgreSQL or to one SQLite file.
#[derive(Clone)]
pub struct Db {
    pool: DatabaseConnection,
    sqlite: bool,
    /// A SQLite file has one writer. Waiting for it here, in order, beats polling its lock.
    writer: Option<Arc<Mutex<()>>>,
    /// How long it waits for that turn at most; then SQLite's own lock decides.
    turn_within: Option<Duration>,
    url: Arc<str>,
}

/// Without the address: it holds a password.
impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("sqlite", &self.sqlite).finish_non_exhaustive()
    }
}

/// What a pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Queries and transactions, this many connections at most.
    Shared(u32),
    /// One connection, whose plans must not depend on how full the tables were when they were made.
    Journal,
    /// One connection that nothing else may hold up for long.
    Heartbeat,
}

impl Db {
    /// Opens a pool; `url` is `postgres://…` or `sqlite://FILE` (the file is created).
    ///
    /// # Errors
    /// What is wrong with the address, or the database's error: unreachable, refused, not a database. Its text never repeats the address.
    pub async fn open(url: &str, purpose: Use) -> Result<Self, DbErr> {
        check_address(url).map_err(|error| DbErr::Custom(format!("the database's address is wrong: {error}")))?;
        let connections = if let Use::Shared(most) = purpose { most } else { 1 };
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(connections)
            .min_connections(u32::from(purpose != Use::Heartbeat))
            .connect_timeout(Duration::from_secs(5))
            .acquire_timeout(PATIENCE)
            .test_before_acquire(purpose != Use::Journal)
            .sqlx_logging(false)
            .map_sqlx_sqlite_opts(|options| {
                options
                    .create_if_missing(true)
                    .pragma("journal_mode", "WAL")
                    .pragma("synchronous", "FULL")
                    .busy_timeout(Duration::from_secs(10))
            });
        let mut settings = vec![("idle_in_transaction_session_timeout", STANDSTILL)];
        if purpose == Use::Journal {
            // A plan that was cached while the tables were empty stays bad.
            settings.extend([
                ("plan_cache_mode", "force_generic_plan"),
                ("enable_seqscan", "off"),
                ("enable_hashjoin", "off"),
                ("enable_mergejoin", "off"),
                ("enable_bitmapscan", "off"),
                ("jit", "off"),
            ]);
        }
        options.map_sqlx_postgres_opts(move |options| options.options(settings.iter().copied()));
        let pool = match Database::connect(options).await {
            Ok(pool) => pool,
            Err(error) => return Err(discreet(why(url, error).await, url)),
        };
        let sqlite = pool.get_database_backend() == DbBackend::Sqlite;
        let writer = sqlite.then(|| Arc::new(Mutex::new(())));
        let turn_within = (purpose == Use::Heartbeat).then_some(HEARTBEAT_TURN);
        Ok(Self { pool, sqlite, writer, turn_within, url: url.into() })
    }

    /// Another pool on the same database. On SQLite it shares the writer's turn with this one.
    ///
    /// # Errors
    /// As [`Db::open`].
    pub async fn also(&self, purpose: Use) -> Result<Self, DbErr> {
        let mut other = Self::open(&self.url, purpose).await?;
        other.writer.clone_from(&self.writer);
        Ok(other)
    }

    /// For queries. A write needs [`Db::begin`].
    pub fn pool(&self) -> &DatabaseConnection {
        &self.pool
    }

    /// Begins a writing transaction: READ COMMITTED on PostgreSQL, IMMEDIATE on SQLite (where `FOR UPDATE` is silently dropped, so that only
    /// the whole file can be locked).
    ///
    /// # Errors
    /// The database's error.
    pub async fn begin(&self) -> Result<Tx, DbErr> {
        let turn = match (&self.writer, self.turn_within) {
            (None, _) => None,
            (Some(writer), None) => Some(Arc::clone(writer).lock_owned().await),
            (Some(writer), Some(most)) => tokio::time::timeout(most, Arc::clone(writer).lock_owned()).await.ok(),
        };
        let options = TransactionOptions {
            sqlite_transaction_mode: self.sqlite.then_some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        Ok(Tx { inner: self.pool.begin_with_options(options).await?, _turn: turn })
    }

    /// Whether this is the embedded size's SQLite.
    pub fn is_sqlite(&self) -> bool {
        self.sqlite
    }

    /// The database's clock, in microseconds.
    ///
    /// # Errors
    /// The database's error.
    pub async fn now(&self) -> Result<i64, DbErr> {
        now(&self.pool).await
    }

    /// Whether it answers and takes writes; a primary that was made read-only, or a standby, does not.
    ///
    /// # Errors
    /// The database's error.
    pub async fn takes_writes(&self) -> Result<bool, DbErr> {
        let sql = if self.sqlite {
            "SELECT TRUE AS writes"
        } else {
            "SELECT current_setting('transaction_read_only') = 'off' AS writes"
        };
        let row = self.pool.query_one_raw(sql_with(&self.pool, sql, [])).await?;
        row.map_or(Ok(false), |row| row.try_get("", "writes"))
    }
}

/// A writing transaction. Dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub struct Tx {
    inner: DatabaseTransaction,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Tx {
    /// Commits. An error here may mean either outcome: read back.
    ///
    /// # Errors
    /// The database's error.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.inner.commit().await
    }

    /// Locks rows until the end of this transaction, as a statement of its own: a statement that locks and counts at once counts on the
    /// snapshot from before it waited. On SQLite the transaction holds the whole file already.
    ///
    /// `condition` is SQL with `$1` for `value`.
    ///
    /// # Errors
    /// The database's error.
    pub async fn lock(&self, table: &str, condition: &str, value: impl Into<sea_orm::Value>) -> Result<bool, DbErr> {
        let lock = if self.inner.get_database_backend() == DbBackend::Postgres { " FOR UPDATE" } else { "" };
        let sql = format!("SELECT 1 FROM {table} WHERE {condition}{lock}");
        Ok(self.inner.query_one_raw(sql_with(&self.inner, sql, [value.into()])).await?.is_some())
    }

    /// The database's clock, in microseconds; read after a lock, it is after whoever held that lock before.
    ///
    /// # Errors
    /// The database's error.
    pub async fn now(&self) -> Result<i64, DbErr> {
        now(&self.inner).await
    }
}

impl Deref for Tx {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

/// The SQL that reads the database's clock in microseconds. Not `now()`, which is the transaction's start.
pub fn clock_sql(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
        _ => "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER) * 1000",
    }
}

/// A statement with values, for whichever database `db` is.
pub fn sql_with<C: ConnectionTrait>(
    db: &C,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = sea_orm::Value>,
) -> Statement {
    Statement::from_sql_and_values(db.get_database_backend(), sql, values)
}

/// A pool that was refused for all its patience says only that its time is up: one look at the address tells more.
async fn why(url: &str, error: DbErr) -> DbErr {
    let timed_out = matches!(&error, DbErr::ConnectionAcquire(_))
        || matches!(&error, DbErr::Conn(RuntimeErr::SqlxError(inner)) if matches!(&**inner, sea_orm::sqlx::Error::PoolTimedOut));
    let Some(place) = address::place(url).filter(|_| timed_out) else { return error };
    let told = match tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(&place)).await {
        Ok(Ok(_)) => "something answers there, but no connection was to be had".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    };
    let seconds = PATIENCE.as_secs();
    DbErr::Conn(RuntimeErr::Internal(format!("{place} could not be reached for {seconds} seconds: {told}")))
}

/// Without the address: it holds a password.
fn discreet(error: DbErr, url: &str) -> DbErr {
    if address::is_told(&error.to_string(), url) {
        return DbErr::Custom("the database refused a part of its address".to_owned());
    }
    error
}

/// Whether the database itself, up and running, refused a statement, and will again: anything else (a lost connection, no answer, a shutdown, too
/// many others, somebody else's lock) may be better next time.
pub fn is_refusal(error: &DbErr) -> bool {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner))
        | DbErr::Conn(RuntimeErr::SqlxError(inner)) => {
            let Some(refused) = inner.as_database_error() else { return false };
            let code = refused.code().unwrap_or_default();
            // PostgreSQL: connection, rollback for another's sake, resources, an operator's hand. SQLite: busy, locked.
            let passes = ["08", "40", "53", "57"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                || code.parse::<u32>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 5 | 6));
            !passes
        }
        DbErr::Json(_) => true,
        _ => false,
    }
}

async fn now<C: ConnectionTrait>(db: &C) -> Result<i64, DbErr> {
    let backend = db.get_database_backend();
    let sql = format!("SELECT {} AS now", clock_sql(backend));
    match db.query_one_raw(Statement::from_string(backend, sql)).await? {
        Some(row) => row.try_get("", "now"),
        None => Err(DbErr::RecordNotFound("the clock".to_owned())),
    }
}
