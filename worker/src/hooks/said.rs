//! What the runner says about a hook.

use serde::Deserialize;

use super::mask::Masks;
use super::outcome::HookOutcome;

/// One answer of the runner (see `runner.py`).
#[derive(Deserialize)]
struct Answer {
    nonce: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum What {
    Result { status: ResultStatus, message: String },
    Nothing,
    BadResult { r#type: String },
    NoExecute,
    CompileError { message: String, traceback: String },
    Raised { class: String, message: String, traceback: String },
    Thread { traceback: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResultStatus {
    Success,
    Warning,
    Error,
}

/// An answer, masked.
pub(super) enum Said {
    /// The hook's end.
    Outcome(HookOutcome),
    /// A thread of the hook's failed; the hook goes on.
    ThreadFailed(String),
}

/// Reads an answer; one without the nonce, or of no known kind, is none.
pub(super) fn read(body: &str, nonce: &str, masks: &Masks) -> Option<Said> {
    let answer: Answer = serde_json::from_str(body).ok()?;
    if answer.nonce != nonce {
        return None;
    }
    let m = |text: String| masks.text(&text);
    Some(Said::Outcome(match answer.what {
        What::Result { status: ResultStatus::Success, message } => HookOutcome::Success(m(message)),
        What::Result { status: ResultStatus::Warning, message } => HookOutcome::Warning(m(message)),
        What::Result { status: ResultStatus::Error, message } => HookOutcome::Error(m(message)),
        What::Nothing => HookOutcome::ReturnedNothing,
        What::BadResult { r#type } => HookOutcome::BadResult { found: m(r#type) },
        What::NoExecute => HookOutcome::NoExecuteFunction,
        What::CompileError { message, traceback } => {
            HookOutcome::CompileError { message: m(message), traceback: m(traceback) }
        }
        What::Raised { class, message, traceback } => {
            HookOutcome::Raised { exception: m(class), message: m(message), traceback: m(traceback) }
        }
        What::Thread { traceback } => return Some(Said::ThreadFailed(m(traceback))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nonce_makes_it_an_answer() {
        let masks = Masks::new(["hunter2"]);
        let body = r#"{"nonce":"n","kind":"result","status":"success","message":"key hunter2"}"#;
        assert!(read(body, "other", &masks).is_none());
        let Some(Said::Outcome(outcome)) = read(body, "n", &masks) else { panic!("no answer") };
        assert_eq!(outcome, HookOutcome::Success("key ********".to_owned()));
    }
}
