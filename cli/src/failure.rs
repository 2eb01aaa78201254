//! What a command says when it cannot do what it was asked.

use std::fmt;

use deployer::error::Refusal;

/// A code with a page in `docs/errors`, and what happened.
#[derive(Debug)]
pub(crate) struct Failure {
    code: String,
    message: String,
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
        Self { code: code.into(), message: message.into() }
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
        write!(f, "{}: {}", self.code, self.message)
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
