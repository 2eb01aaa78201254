//! What a command says when it cannot do what it was asked.

use std::{fmt, process::ExitCode};

use deployer::error::Refusal;

/// A code with a page in `docs/errors`, and what happened.
#[derive(Debug)]
pub(crate) struct Failure {
    code: String,
    message: String,
    field: Option<String>,
    kind: Kind,
}

/// What kind of failure: it decides the exit code, and whether asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It did not work.
    Failed,
    /// The request, or the command line, was refused: asked again as it is, it will be refused again.
    Refused,
    /// There was no answer, or none that says what was done. It may pass.
    Lost,
    /// What was waited for did not come in time.
    TimedOut,
}

impl Failure {
    /// Whoever read our output has gone: nothing is left to say.
    pub(crate) fn closed_pipe() -> Self {
        Self::new("", "")
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.code.is_empty()
    }

    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of(Kind::Failed, code, message)
    }

    pub(crate) fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of(Kind::Refused, code, message)
    }

    pub(crate) fn of(kind: Kind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), field: None, kind }
    }

    /// About this input.
    pub(crate) fn about(mut self, field: Option<&str>) -> Self {
        self.field = field.map(str::to_owned);
        self
    }

    /// With another sentence.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.message = format!("{} {more}", self.message);
        self
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.kind == Kind::Lost
    }

    /// As `docs/CI.md` promises it.
    pub(crate) fn exit(&self) -> u8 {
        match self.kind {
            Kind::Failed | Kind::Lost => 1,
            Kind::Refused => 2,
            Kind::TimedOut => 3,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit())
    }
}

impl Failure {
    /// What the operating system refused; `error` may say of what.
    pub(crate) fn io(error: impl fmt::Display) -> Self {
        Self::new("IO_FAILED", error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        match &self.field {
            Some(field) => write!(f, " ({field})"),
            None => Ok(()),
        }
    }
}

impl From<engine::db::DbErr> for Failure {
    fn from(error: engine::db::DbErr) -> Self {
        Self::new("DATABASE_UNAVAILABLE", error.to_string())
    }
}

impl From<deployer::error::Error> for Failure {
    fn from(error: deployer::error::Error) -> Self {
        match error {
            deployer::error::Error::Refused(refusals) => match refusals.first() {
                // From here everything is visible: rights are not why it is not there.
                Some(Refusal { code: "NOT_FOUND", field, .. }) => {
                    let field = field.as_deref().unwrap_or("id");
                    Self::new("NOT_FOUND", format!("There is nothing with this {field}. Check how it is spelt."))
                }
                Some(first) => Self::new(first.code, first.message.clone()),
                None => Self::new("INTERNAL", "refused without a reason"),
            },
            deployer::error::Error::Fault(fault) => Self::new("INTERNAL", fault.detail),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::io(error)
    }
}
