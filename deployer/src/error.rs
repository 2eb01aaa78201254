//! What an operation answers when it does not do what it was asked.

use std::fmt;

use sea_orm::{DbErr, RuntimeErr};

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
    /// Trying again may help: a lost connection, a serialisation conflict.
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

    /// A failure of ours.
    pub fn fault(detail: impl Into<String>) -> Self {
        Self::Fault(Fault { detail: detail.into(), transient: false, conflict: false })
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        let conflict = is_conflict(&error);
        let transient = conflict || matches!(error, DbErr::ConnectionAcquire(_) | DbErr::Conn(_));
        Self::Fault(Fault { detail: error.to_string(), transient, conflict })
    }
}

/// PostgreSQL's `deadlock_detected` and `serialization_failure`. On SQLite writers take turns: it has neither.
fn is_conflict(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(inner))
    | DbErr::Query(RuntimeErr::SqlxError(inner))
    | DbErr::Conn(RuntimeErr::SqlxError(inner))) = error
    else {
        return false;
    };
    inner.as_database_error().and_then(|error| error.code()).is_some_and(|code| matches!(&*code, "40P01" | "40001"))
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

    /// Refuses if anything was noted.
    ///
    /// # Errors
    /// [`Error::Refused`] with all that was noted.
    pub fn check(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Refused(self.0)) }
    }
}
