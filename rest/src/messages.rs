//! The report object that recurs everywhere in this API.

use serde_json::{Value, json};

/// How bad a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Success,
    Info,
    Warning,
    Error,
}

impl From<deployer::status::Severity> for Severity {
    fn from(severity: deployer::status::Severity) -> Self {
        use deployer::status::Severity::{Error, Info, Success, Warning};
        match severity {
            Success => Self::Success,
            Info => Self::Info,
            Warning => Self::Warning,
            Error => Self::Error,
        }
    }
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One message.
pub(crate) struct Message {
    pub(crate) severity: Severity,
    pub(crate) code: String,
    pub(crate) title: String,
    pub(crate) message: String,
    pub(crate) details: Option<String>,
}

/// All messages as one report.
pub(crate) fn report(messages: &[Message]) -> Value {
    let any = |severity| messages.iter().any(|message| message.severity == severity);
    let one = |message: &Message| {
        json!({
            "severity": message.severity.as_str(),
            "isFatal": message.severity == Severity::Error,
            "code": message.code,
            "title": message.title,
            "message": message.message,
            "details": message.details.as_deref().unwrap_or(&message.message),
        })
    };
    json!({
        "messages": messages.iter().map(one).collect::<Vec<_>>(),
        "anyMessage": !messages.is_empty(),
        "success": any(Severity::Success),
        "warning": any(Severity::Warning),
        "error": any(Severity::Error),
        "fatal": any(Severity::Error),
        "maxSeverity": messages.iter().map(|message| message.severity).max().map(Severity::as_str),
    })
}
