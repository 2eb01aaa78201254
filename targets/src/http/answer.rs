//! What a status and a body mean.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{
    text::Scrubber,
    trouble::{CallError, DETAIL_CHARS, Effect, Who, cut, timed_out_error},
};
use crate::codes;

/// Of a node's error title, this many characters reach the user's sentence.
const TITLE_CHARS: usize = 300;
/// Longer requests to wait are cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// An answer that has arrived whole.
pub(crate) struct Answer {
    pub(super) status: u16,
    pub(super) html: bool,
    pub(super) retry_after: Option<Duration>,
    /// The node's `DSS-Version` header.
    pub(crate) version: Option<String>,
    pub(super) body: Bytes,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

/// Reads `Retry-After` in its form of seconds; dates are not worth a clock.
pub(super) fn retry_after(header: Option<&str>) -> Option<Duration> {
    let seconds = header?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

impl Answer {
    /// Sorts out every answer that is no success.
    pub(super) fn checked(self, doing: &str, scrubber: &Scrubber) -> Result<Self, CallError> {
        if (200..300).contains(&self.status) {
            if self.html || looks_like_html(&self.body) {
                return Err(self.not_json(doing, scrubber));
            }
            return Ok(self);
        }
        let error = refusal(self.status, self.error_object(scrubber).as_ref(), doing);
        let error = CallError { retry_after: self.retry_after.filter(|_| error.retryable), ..error };
        Err(error.detail(self.seen(scrubber)))
    }

    /// The body as JSON, after [`Answer::checked`].
    pub(super) fn json(&self, doing: &str, scrubber: &Scrubber) -> Result<Value, CallError> {
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(value),
            // JSON that stops in the middle: a connection that ended early, where no length said so.
            Err(error) if error.is_eof() && !self.body.trim_ascii().is_empty() => {
                Err(cut(doing, Who::NODE).detail(self.seen(scrubber)))
            }
            Err(_) => Err(self.not_json(doing, scrubber)),
        }
    }

    /// The body, if it is JSON.
    pub(super) fn maybe_json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    fn not_json(&self, doing: &str, scrubber: &Scrubber) -> CallError {
        CallError::permanent(
            codes::NODE_ANSWER_NOT_JSON,
            format!(
                "What answered while {doing} is no node's API: no JSON came back (a login page, or a proxy?). Check the URL in the infrastructure's settings."
            ),
            Effect::Ended,
        )
        .detail(self.seen(scrubber))
    }

    /// Status and first words, for infrastructure administrators.
    fn seen(&self, scrubber: &Scrubber) -> String {
        let head = &self.body[..self.body.len().min(8 * DETAIL_CHARS)];
        let words = scrubber.clean(&String::from_utf8_lossy(head), DETAIL_CHARS);
        format!("status {}: {words}", self.status)
    }

    fn error_object(&self, scrubber: &Scrubber) -> Option<NodeError> {
        let value: Value = serde_json::from_slice(&self.body).ok()?;
        let object = value.as_object()?;
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let message = text("detailedMessage").or_else(|| text("message")).unwrap_or("No message");
        let documented = ["errorType", "code", "message", "detailedMessage"].into_iter().filter_map(text).any(|text| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word.starts_with("ERR_"))
        });
        Some(NodeError { message: scrubber.clean(message, TITLE_CHARS), documented })
    }
}

/// The node's error object, `{errorType, message, detailedMessage}`.
struct NodeError {
    message: String,
    /// It names one of the platform's documented error codes: a verdict, not an accident.
    documented: bool,
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

fn refusal(status: u16, error: Option<&NodeError>, doing: &str) -> CallError {
    let said = error.map(|error| format!(" The node said: {}", error.message)).unwrap_or_default();
    let permanent = CallError::permanent;
    let retryable = CallError::retryable;
    match status {
        300..400 => permanent(
            codes::NODE_REDIRECTED,
            format!(
                "The node answered with a redirect while {doing}, and Slipway follows none. Enter the URL that the redirect leads to, if it is the node's."
            ),
            Effect::None,
        ),
        401 => permanent(
            codes::NODE_KEY_REJECTED,
            format!(
                "The node does not accept the administrator key ({doing}). Enter the key again in the infrastructure's settings."
            ),
            Effect::None,
        ),
        403 => permanent(
            codes::NODE_FORBIDDEN,
            format!(
                "The node forbids {doing}. Check that the key is an administrator's, and the rights of the user as whom the change is made.{said}"
            ),
            Effect::None,
        ),
        404 => permanent(
            codes::NODE_NOT_FOUND,
            format!("The node does not have what was asked for while {doing}.{said}"),
            Effect::None,
        ),
        408 => CallError { effect: Effect::None, ..timed_out_error(doing, Who::NODE) },
        429 => retryable(
            codes::NODE_BUSY,
            format!("The node has too much to do and asked us to come back later ({doing})."),
            Effect::None,
        ),
        400..500 => {
            permanent(codes::NODE_REFUSED, format!("The node refused {doing} (status {status}).{said}"), Effect::Ended)
        }
        _ => match error {
            Some(error) if status == 500 && error.documented => permanent(
                codes::NODE_REPORT_ERROR,
                format!("The node reported an error while {doing}: {}", error.message),
                Effect::Ended,
            ),
            Some(_) if !matches!(status, 502..=504) => {
                // The call is over, perhaps half done: whoever made it looks before it makes it again.
                retryable(
                    codes::NODE_ERROR,
                    format!("The node failed while {doing} (status {status}).{said}"),
                    Effect::Ended,
                )
            }
            // A gateway may have passed the call on; a node that says 503 has not begun.
            _ => retryable(
                codes::NODE_UNAVAILABLE,
                format!("The node, or a proxy before it, is not available (status {status}, {doing}).{said}"),
                if matches!(status, 500 | 503) { Effect::Ended } else { Effect::Unknown },
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use engine::{failure::Code, secrets::Secret};

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            html: false,
            retry_after: Some(Duration::from_secs(7)),
            version: None,
            body: Bytes::from(body.to_owned()),
        }
    }

    fn outcome(status: u16, body: &str) -> CallError {
        let scrubber = Scrubber::new(&Secret::from("thekey".to_owned()));
        answer(status, body).checked("testing", &scrubber).and_then(|a| a.json("testing", &scrubber)).unwrap_err()
    }

    #[test]
    fn each_status_has_its_code_and_class() {
        let object = r#"{"errorType":"X","message":"m thekey","detailedMessage":"long thekey"}"#;
        let verdict = r#"{"errorType":"com.x.CodedException","message":"ERR_BUNDLE_ACTIVATE_MISSING_CONNECTION: no"}"#;
        let table: &[(u16, &str, Code, bool, Effect)] = &[
            (302, "", codes::NODE_REDIRECTED, false, Effect::None),
            (401, object, codes::NODE_KEY_REJECTED, false, Effect::None),
            (403, object, codes::NODE_FORBIDDEN, false, Effect::None),
            (404, "<html>", codes::NODE_NOT_FOUND, false, Effect::None),
            (408, "", codes::NODE_TIMED_OUT, true, Effect::None),
            (400, object, codes::NODE_REFUSED, false, Effect::Ended),
            (409, object, codes::NODE_REFUSED, false, Effect::Ended),
            (429, object, codes::NODE_BUSY, true, Effect::None),
            (500, object, codes::NODE_ERROR, true, Effect::Ended),
            (500, verdict, codes::NODE_REPORT_ERROR, false, Effect::Ended),
            (500, "<html>", codes::NODE_UNAVAILABLE, true, Effect::Ended),
            (500, "[1]", codes::NODE_UNAVAILABLE, true, Effect::Ended),
            (502, object, codes::NODE_UNAVAILABLE, true, Effect::Unknown),
            (503, object, codes::NODE_UNAVAILABLE, true, Effect::Ended),
            (504, "", codes::NODE_UNAVAILABLE, true, Effect::Unknown),
            (200, "<html>", codes::NODE_ANSWER_NOT_JSON, false, Effect::Ended),
            (200, "", codes::NODE_ANSWER_NOT_JSON, false, Effect::Ended),
            (204, "", codes::NODE_ANSWER_NOT_JSON, false, Effect::Ended),
            (200, "hello", codes::NODE_ANSWER_NOT_JSON, false, Effect::Ended),
            (200, r#"{"a": [1,"#, codes::NODE_ANSWER_CUT, true, Effect::Unknown),
        ];
        for (status, body, code, retryable, effect) in table {
            let error = outcome(*status, body);
            assert!(
                error.is(code) && error.retryable == *retryable && error.effect == *effect,
                "{status} {body}: {error:?}"
            );
            assert_eq!(error.retry_after.is_some(), *retryable && *status >= 400, "{status}");
            let told = format!("{error:?}");
            assert!(!told.contains("thekey"), "{told}");
        }
    }

    #[test]
    fn retry_after_is_bounded_seconds() {
        assert_eq!(retry_after(Some("3")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("99999999")), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(retry_after(None), None);
    }
}
