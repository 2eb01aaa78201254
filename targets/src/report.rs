//! The node's reports: an answer of 200 can hold an error.

use engine::failure::Failure;
use serde_json::Value;

use crate::codes;

/// So many messages of one report are kept.
const MAX_MESSAGES: usize = 20;

/// Makes a node's words harmless.
type Clean<'a> = &'a dyn Fn(&str) -> String;

/// What the node says of a preload or an activation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// The node says that it did not work.
    failed: bool,
    errors: Vec<Message>,
    warnings: Vec<Message>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    /// Code and title: short, for everyone.
    short: String,
    /// The node's sentence, for infrastructure administrators.
    long: String,
}

impl Report {
    /// Reads the report that an answer is, at its top or one level below.
    pub(crate) fn read(answer: &Value, clean: Clean<'_>) -> Self {
        let mut report = Self::within(answer, clean);
        report.judge(answer);
        report
    }

    /// Reads a report in an answer that need not be one: it is known by its list of messages.
    pub(crate) fn within(answer: &Value, clean: Clean<'_>) -> Self {
        let mut report = Self::default();
        let below = answer.as_object().into_iter().flat_map(|object| object.values());
        let parts = std::iter::once(answer).chain(below);
        for part in parts.filter(|value| value.get("messages").is_some_and(Value::is_array)) {
            report.judge(part);
            report.add(part, clean);
        }
        report
    }

    fn judge(&mut self, part: &Value) {
        let says = |key: &str| part.get(key).and_then(Value::as_bool).unwrap_or_default();
        let worst = part.get("maxSeverity").and_then(Value::as_str);
        self.failed |= says("error") || says("fatal") || worst == Some("ERROR");
    }

    fn add(&mut self, part: &Value, clean: Clean<'_>) {
        for message in part.get("messages").and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| message.get(key).and_then(Value::as_str).map(clean).filter(|text| !text.is_empty());
            let severity = message.get("severity").and_then(Value::as_str);
            let fatal = message.get("isFatal").and_then(Value::as_bool).unwrap_or_default();
            let short = [text("code"), text("title")].into_iter().flatten().collect::<Vec<_>>().join(": ");
            let long = [text("message"), text("details")].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let short = if short.is_empty() { "a message without a title".to_owned() } else { short };
            let kept = Message { short, long };
            if severity == Some("ERROR") || fatal {
                self.failed = true;
                push_bounded(&mut self.errors, kept);
            } else if severity == Some("WARNING") {
                push_bounded(&mut self.warnings, kept);
            }
        }
    }

    /// The warnings, each a line; or the failure, with the codes and titles of the errors.
    pub(crate) fn verdict(self, what: &str) -> Result<Vec<String>, Failure> {
        if !self.failed {
            return Ok(self
                .warnings
                .into_iter()
                .map(|message| format!("The node warns, {what}: {}", message.told()))
                .collect());
        }
        let titles: Vec<_> = self.errors.iter().map(|message| message.short.as_str()).collect();
        let titles = if titles.is_empty() { "no message says which".to_owned() } else { titles.join("; ") };
        let failure = Failure::new(codes::NODE_REPORT_ERROR, format!("The node reported an error, {what}: {titles}."));
        let details: Vec<_> =
            self.errors.into_iter().map(|message| message.long).filter(|long| !long.is_empty()).collect();
        Err(if details.is_empty() { failure } else { failure.detail(details.join("\n")) })
    }

    /// The same where everybody may read the node's sentences: an API node speaks of packages, not of what runs in them.
    pub(crate) fn verdict_in_full(self, what: &str) -> Result<Vec<String>, Failure> {
        self.verdict(what).map_err(|failure| match &failure.detail {
            Some(said) => {
                Failure { message: format!("{} It said: {}", failure.message, said.replace('\n', " ")), ..failure }
            }
            None => failure,
        })
    }
}

impl Message {
    fn told(self) -> String {
        if self.long.is_empty() { self.short } else { format!("{} ({})", self.short, self.long) }
    }
}

fn push_bounded(list: &mut Vec<Message>, message: Message) {
    if list.len() < MAX_MESSAGES {
        list.push(message);
    }
}
