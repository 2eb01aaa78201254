//! What a call that went wrong means: its failure, whether another attempt is worth it, and whether the node may have acted.

use std::{error::Error, io, time::Duration};

use engine::{
    failure::{Code, Failure, StepError},
    packages::PackageError,
};

use super::{address::AddressForbidden, text::Scrubber};
use crate::codes;

/// Of a detail, this many characters are kept.
pub(super) const DETAIL_CHARS: usize = 1_000;

/// When to ask somebody again who is busy and does not say.
const AGAIN: Duration = Duration::from_secs(1);

/// What the other side is called in texts, as a sentence's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who(pub(crate) &'static str);

impl Who {
    /// A node.
    pub(crate) const NODE: Self = Self("The node");

    /// In the middle of a sentence.
    pub(crate) fn inside(self) -> String {
        self.0.strip_prefix("The ").map_or_else(|| self.0.to_owned(), |rest| format!("the {rest}"))
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// A call that did not bring what was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    /// What to record.
    pub failure: Failure,
    /// Worth another attempt.
    pub retryable: bool,
    /// What the node asked us to wait at least.
    pub retry_after: Option<Duration>,
    /// What became of the call at the node.
    pub(crate) effect: Effect,
}

/// What became of a call that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The node did not take it.
    None,
    /// The node is done with it, and may have done a part.
    Ended,
    /// The node may have done it, or may still be doing it.
    Unknown,
}

impl CallError {
    pub(crate) fn permanent(code: Code, message: impl Into<String>, effect: Effect) -> Self {
        Self { failure: Failure::new(code, message), retryable: false, retry_after: None, effect }
    }

    pub(crate) fn retryable(code: Code, message: impl Into<String>, effect: Effect) -> Self {
        Self { retryable: true, ..Self::permanent(code, message, effect) }
    }

    /// A verdict inside a success.
    pub(crate) fn reported(failure: Failure) -> Self {
        Self { failure, retryable: false, retry_after: None, effect: Effect::Ended }
    }

    pub(crate) fn detail(mut self, detail: String) -> Self {
        if !detail.is_empty() {
            self.failure = self.failure.detail(detail);
        }
        self
    }

    pub(crate) fn is(&self, code: &Code) -> bool {
        self.failure.code == *code
    }
}

impl From<CallError> for StepError {
    fn from(error: CallError) -> Self {
        if !error.retryable {
            return error.failure.permanent();
        }
        // Who is busy asks to come again, also without saying when: after a look in order that ends no run.
        let busy = error.failure.code == codes::NODE_BUSY;
        error.failure.retryable(error.retry_after.or(busy.then_some(AGAIN)))
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        error.failure
    }
}

/// The package store failed while we were sending.
#[derive(Debug, thiserror::Error)]
#[error("the package could not be read to its end")]
pub(super) struct SendingFailed(#[source] pub(super) PackageError);

/// What a broken connection means. `doing` is a phrase such as "listing the projects".
pub(super) fn transport(error: reqwest::Error, doing: &str, scrubber: &Scrubber, who: Who) -> CallError {
    let connecting = error.is_connect();
    let timed_out = error.is_timeout();
    let building = error.is_builder();
    let error = error.without_url();
    let detail = scrubber.clean(&chain(&error), DETAIL_CHARS);
    let called = if let Some(SendingFailed(package)) = find::<SendingFailed>(&error) {
        // Our own store, not the node.
        let effect = Effect::Unknown;
        let passing = matches!(package, PackageError::Failed { .. } | PackageError::Interrupted(_));
        CallError { retryable: passing, ..CallError::permanent(package.code(), package.to_string(), effect) }
    } else if find::<AddressForbidden>(&error).is_some() {
        forbidden(doing, who)
    } else if find::<rustls::Error>(&error).is_some() {
        let effect = if connecting { Effect::None } else { Effect::Unknown };
        CallError::permanent(
            codes::NODE_TLS_FAILED,
            format!(
                "No secure connection to {} while {doing}. Check its certificate, {}, and that the URL's scheme is right.",
                who.inside(),
                if who == Who::NODE {
                    "whether the infrastructure is to accept any"
                } else {
                    "the authorities that the settings trust"
                }
            ),
            effect,
        )
    } else if connecting {
        CallError::retryable(
            codes::NODE_UNREACHABLE,
            format!(
                "{who} could not be reached while {doing}. Check that it runs, and {}.",
                if who == Who::NODE {
                    "the URL in the infrastructure's settings"
                } else {
                    "the address in the settings"
                }
            ),
            Effect::None,
        )
    } else if timed_out {
        timed_out_error(doing, who)
    } else if building {
        CallError::permanent(
            codes::NODE_REFUSED,
            format!("The request for {doing} could not be written: a name in it has characters that HTTP can't carry."),
            Effect::None,
        )
    } else {
        cut(doing, who)
    };
    called.detail(detail)
}

pub(super) fn timed_out_error(doing: &str, who: Who) -> CallError {
    CallError::retryable(
        codes::NODE_TIMED_OUT,
        format!("{who} did not answer in time while {doing}. It may still be at work; whoever goes on looks first."),
        Effect::Unknown,
    )
}

pub(super) fn cut(doing: &str, who: Who) -> CallError {
    CallError::retryable(
        codes::NODE_ANSWER_CUT,
        format!(
            "The connection to {} ended before its answer was complete, while {doing}. It may still be at work; whoever goes on looks first.",
            who.inside()
        ),
        Effect::Unknown,
    )
}

pub(super) fn forbidden(doing: &str, who: Who) -> CallError {
    CallError::permanent(
        codes::NODE_ADDRESS_FORBIDDEN,
        format!(
            "The host name of {} leads to an address that Slipway must not connect to (link-local, metadata, multicast), so it stopped before {doing}. Correct the URL, or ask an operator to change the list of forbidden networks.",
            who.inside()
        ),
        Effect::None,
    )
}

/// The first error of this type in the chain, also inside `io::Error`, whose `source` skips what it wraps.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(inner) = wrapped {
            let inner: &(dyn Error + 'static) = inner;
            if let Some(found) = find::<E>(inner) {
                return Some(found);
            }
        }
        next = error.source();
    }
    None
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
