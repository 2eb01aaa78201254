//! InfoMessages: the report object of preload and activation (wire contract, section 0.5).

use serde_json::{Value, json};

/// A report in the making.
#[derive(Default)]
pub(crate) struct Report(Vec<Value>);

impl Report {
    fn push(&mut self, severity: &str, fatal: bool, code: &str, title: &str, details: &str) {
        self.0.push(json!({
            "severity": severity, "isFatal": fatal, "code": code, "title": title, "message": details, "details": details,
        }));
    }

    pub(crate) fn info(&mut self, code: &str, title: &str, details: &str) {
        self.push("INFO", false, code, title, details);
    }

    /// An error that stops the call, though the report does not call it fatal.
    pub(crate) fn error(&mut self, code: &str, title: &str, details: &str) {
        self.push("ERROR", false, code, title, details);
    }

    /// An error that the report calls fatal.
    pub(crate) fn fatal(&mut self, code: &str, title: &str, details: &str) {
        self.push("ERROR", true, code, title, details);
    }

    pub(crate) fn failed(&self) -> bool {
        self.has("ERROR")
    }

    fn has(&self, severity: &str) -> bool {
        self.0.iter().any(|message| message["severity"] == severity)
    }

    /// The object of the wire. `success` means that there is a message of success, not that all went well; and
    /// without messages there is no `maxSeverity`.
    pub(crate) fn value(&self) -> Value {
        let mut value = json!({
            "messages": self.0, "anyMessage": !self.0.is_empty(), "success": self.has("SUCCESS"),
            "warning": self.has("WARNING"), "error": self.failed(),
            "fatal": self.0.iter().any(|message| message["isFatal"] == true),
        });
        if let Some(worst) = ["ERROR", "WARNING", "INFO", "SUCCESS"].into_iter().find(|severity| self.has(severity)) {
            value["maxSeverity"] = json!(worst);
        }
        value
    }
}
