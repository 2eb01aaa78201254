//! What an operation answers when it does not do what it was asked.

use std::fmt;

use sea_orm::{DbErr, RuntimeErr, sqlx};

/// An operation's answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did nothing.
#[derive(Debug)]
pub enum Error {
    /// The caller can mend it: data of the answer, each with a code and, where there is one, the field.
    Refused(Vec<Refusal>),
    /// We can mend it: logged once at the edge; the caller learns that something failed, never the words of a database.
    Fault(Fault),
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable code with a page in `docs/errors/`.
    pub code: &'static str,
    /// The input field, in the API's spelling (`nodeUrl`, `hooks[1].code`).
    pub field: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A failure of ours.
#[derive(Debug)]
pub struct Fault {
    /// For the log.
    pub detail: String,
    /// Trying again may help: the database is away or takes no writes, or there was a conflict. Whether anything was done is not known when the
    /// connection was lost in the commit.
    pub transient: bool,
    /// The database broke the transaction off for another one's sake (a deadlock, a serialization failure): nothing of it happened.
    pub conflict: bool,
}

impl Error {
    /// One refusal with a field.
    pub fn field(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(vec![Refusal { code, field: Some(field.into()), message: message.into() }])
    }

    /// One refusal about the whole request.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused(vec![Refusal { code, field: None, message: message.into() }])
    }

    /// The one answer for what is not there and for what the viewer may not see: the same text for both.
    pub fn not_found(field: impl Into<String>) -> Self {
        Self::field("NOT_FOUND", field, "There is nothing with this id that you may see. Check the id and your rights.")
    }

    /// The viewer may see it, but not do this.
    pub fn forbidden(right: &str) -> Self {
        Self::refused("FORBIDDEN", format!("This needs {right}. Ask an administrator for it."))
    }

    /// The id is taken or reserved: one text for both.
    pub fn id_not_available(field: impl Into<String>) -> Self {
        Self::field("ID_NOT_AVAILABLE", field, "This id is not available. Choose another one.")
    }

    /// Somebody else changed it since the caller looked.
    pub fn version_conflict(seen: i64, now: i64) -> Self {
        Self::field(
            "VERSION_CONFLICT",
            "expectedVersion",
            format!(
                "This was changed meanwhile: you saw version {seen}, it is {now}. Read it again and repeat the change."
            ),
        )
    }

    /// What was read is not what was locked: the work begins again.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::Fault(Fault { detail: detail.into(), transient: true, conflict: true })
    }

    /// A failure of ours.
    pub fn fault(detail: impl Into<String>) -> Self {
        Self::Fault(Fault { detail: detail.into(), transient: false, conflict: false })
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        let code = code(&error);
        // `deadlock_detected`, `serialization_failure`. On SQLite writers take turns: it has neither.
        let conflict = code.as_deref().is_some_and(|code| matches!(code, "40P01" | "40001")) || is_same_id(&error);
        let transient = conflict || is_away(&error, code.as_deref());
        Self::Fault(Fault { detail: error.to_string(), transient, conflict })
    }
}

fn inner(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner))
        | DbErr::Conn(RuntimeErr::SqlxError(inner)) => Some(inner),
        _ => None,
    }
}

/// Two runs drew the same id within a millisecond, and each had looked before the other committed: another draw mends it. On SQLite writers take
/// turns, and the second one sees the first.
fn is_same_id(error: &DbErr) -> bool {
    let refused = inner(error).and_then(|inner| inner.as_database_error());
    refused.is_some_and(|refused| refused.is_unique_violation() && refused.constraint() == Some("run_pkey"))
}

/// PostgreSQL's code of an error.
fn code(error: &DbErr) -> Option<String> {
    inner(error)?.as_database_error()?.code().map(|code| code.into_owned())
}

/// The database is not there, is going, or takes no writes.
fn is_away(error: &DbErr, code: Option<&str>) -> bool {
    match (error, code) {
        // Connection exceptions, no free connection, an operator's intervention (shutdown, a terminated session), a read-only transaction, a
        // session that stood still in a transaction.
        (_, Some(code)) => {
            code.starts_with("08") || code.starts_with("57P") || matches!(code, "53300" | "25006" | "25P03")
        }
        (DbErr::ConnectionAcquire(_) | DbErr::Conn(_), None) => true,
        (error, None) => inner(error).is_some_and(|inner| {
            use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Tls, WorkerCrashed};
            matches!(inner, Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed)
        }),
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::fault(format!("a stored document cannot be read: {error}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} ({field}): {}", self.code, self.message),
            None => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

/// Collects all that is wrong with an input, so that the caller mends it in one go.
#[derive(Debug, Default)]
pub struct Problems(Vec<Refusal>);

impl Problems {
    /// Notes a problem.
    pub fn add(&mut self, code: &'static str, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Refusal { code, field: Some(field.into()), message: message.into() });
    }

    /// How many were noted.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Refuses if anything was noted.
    ///
    /// # Errors
    /// [`Error::Refused`] with all that was noted.
    pub fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Refused(self.0)) }
    }
}
