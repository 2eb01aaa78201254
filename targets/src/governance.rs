//! Governance sources: an HTTP endpoint of somebody else's, asked whether a bundle may be deployed.
//!
//! One `POST` of a [`Question`] as JSON, with the source's key as a bearer token. The answer is `{"status": "OK" | "WARNING" | "ERROR", "messages": […]}`;
//! docs/GOVERNANCE.md has the whole of it. What holds for nodes holds here: no redirects, checked addresses, bounded answers.

use std::time::Duration;

use engine::{
    failure::{Failure, StepError},
    secrets::Secret,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    codes,
    http::{Body, CallError, Http, Method, NodeUrl, Request},
    target::Half,
};

/// One call takes this long at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many messages of an answer are kept.
const MOST_MESSAGES: usize = 50;
/// The longest text of a message, in characters.
const LONGEST: usize = 1_000;

/// What is asked: may this bundle be deployed there?
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// The deployment; it may not have been made yet.
    pub deployment_id: String,
    /// Where to.
    pub infrastructure_id: String,
    /// Whether a bundle of a project, or a version of an API service, is to be deployed.
    pub kind: Half,
    /// The published project, or service.
    pub project_key: String,
    /// The project key, or the service's id, on the node.
    pub deployed_project_key: String,
    /// The bundle, or the version.
    pub bundle_id: String,
    /// Of its archive, lower-case hex.
    pub sha256: String,
    /// Who asked for the deployment: a login.
    pub requester: String,
}

/// How much weight a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is as it should be.
    Success,
    /// To know.
    Info,
    /// To look at before going on.
    Warning,
    /// In the way.
    Error,
}

/// One thing that a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its weight.
    pub severity: Severity,
    /// The source's code for it; empty if it has none.
    pub code: String,
    /// In a few words; empty if it has none.
    pub title: String,
    /// The sentence.
    pub message: String,
}

/// What a source answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Success, Warning or Error.
    pub status: Severity,
    /// Why.
    pub messages: Vec<Message>,
}

/// Asks a source.
pub(crate) async fn ask(
    http: &Http,
    url: &str,
    key: Option<&Secret>,
    question: &Question,
) -> Result<Verdict, StepError> {
    let url = NodeUrl::parse(url, &http.settings().blocked).map_err(|error| invalid(&error.to_string(), None))?;
    let source = http.endpoint(url, key, PATIENCE);
    let body = serde_json::to_value(question)
        .map_err(|error| invalid("The question can't be written.", Some(error.to_string())))?;
    let request = Request { body: Body::Json(body), ..Request::new(Method::POST, &[], "asking the governance source") };
    let answer = source.json(request).await.map_err(failed)?;
    let clean = |text: &str| source.scrubber().clean(text, LONGEST);
    read(&answer, clean).ok_or_else(|| {
        let shape = "its answer has no status of OK, WARNING or ERROR";
        invalid(&format!("The governance source does not answer as it should: {shape}."), None)
    })
}

fn read(answer: &Value, clean: impl Fn(&str) -> String) -> Option<Verdict> {
    let status = match answer.get("status")?.as_str()? {
        "OK" => Severity::Success,
        "WARNING" => Severity::Warning,
        "ERROR" => Severity::Error,
        _ => return None,
    };
    let message = |item: &Value| {
        let text = |key: &str| item.get(key).and_then(Value::as_str).map(&clean).unwrap_or_default();
        let severity = match item.get("severity").and_then(Value::as_str) {
            Some("SUCCESS") => Severity::Success,
            Some("INFO") => Severity::Info,
            Some("WARNING") => Severity::Warning,
            Some("ERROR") => Severity::Error,
            _ => status,
        };
        let message = item.as_str().map_or_else(|| text("message"), &clean);
        let one = Message { severity, code: text("code"), title: text("title"), message };
        (!one.message.is_empty() || !one.title.is_empty()).then_some(one)
    };
    let messages = match answer.get("messages") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().filter_map(message).take(MOST_MESSAGES).collect(),
        Some(_) => return None,
    };
    Some(Verdict { status, messages })
}

/// The client speaks of nodes: the words are ours, and administrators of the infrastructure read the rest.
fn failed(error: CallError) -> StepError {
    let CallError { failure, retryable, retry_after, .. } = error;
    let detail = match &failure.detail {
        Some(detail) => format!("{}: {detail}", failure.message),
        None => failure.message.clone(),
    };
    if retryable {
        let message = format!("The governance source could not be asked ({}).", failure.code);
        return Failure::new(codes::GOVERNANCE_UNAVAILABLE, message).detail(detail).retryable(retry_after);
    }
    let message = format!("The governance source does not answer as it should ({}).", failure.code);
    invalid(&message, Some(detail))
}

fn invalid(message: &str, detail: Option<String>) -> StepError {
    let advice = "An administrator of the infrastructure must look at its URL and key.";
    let failure = Failure::new(codes::GOVERNANCE_SOURCE_INVALID, format!("{message} {advice}"));
    match detail {
        Some(detail) => failure.detail(detail).permanent(),
        None => failure.permanent(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(answer: Value) -> Option<Verdict> {
        read(&answer, str::to_owned)
    }

    #[test]
    fn an_answer_has_a_status_and_perhaps_messages() {
        assert_eq!(verdict(json!({"status": "OK"})), Some(Verdict { status: Severity::Success, messages: Vec::new() }));
        let answer = json!({"status": "WARNING", "more": 1, "messages": [
            "plain", {"severity": "ERROR", "code": "ERR_SIGN_OFF", "title": "Sign-off", "message": "Nobody signed."}, {"details": 1},
        ]});
        let told = verdict(answer).unwrap();
        assert_eq!((told.status, told.messages.len()), (Severity::Warning, 2));
        assert_eq!((told.messages[0].severity, told.messages[0].message.as_str()), (Severity::Warning, "plain"));
        assert_eq!((told.messages[1].severity, told.messages[1].code.as_str()), (Severity::Error, "ERR_SIGN_OFF"));
        let many = verdict(json!({"status": "ERROR", "messages": vec!["x"; 1_000]})).unwrap();
        assert_eq!(many.messages.len(), MOST_MESSAGES);
        for wrong in
            [json!({}), json!([]), json!({"status": "ok"}), json!({"status": "OK", "messages": "x"}), json!(null)]
        {
            assert_eq!(verdict(wrong.clone()), None, "{wrong}");
        }
    }
}
