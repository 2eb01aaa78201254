//! A call whose answer is handed back as it came: platforms have their own words for what went wrong, and their own places for them. What a status means by
//! itself is the same everywhere, and stands here.

use std::time::Duration;

use bytes::Bytes;
use engine::failure::Code;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    answer::retry_after,
    client::{Node, Request},
    text::Scrubber,
    trouble::{CallError, DETAIL_CHARS, Effect, Who, cut, timed_out_error, transport},
};
use crate::codes;

/// Of a platform's own sentence, this many characters reach the user's.
const SAID_CHARS: usize = 500;

/// An answer that has arrived whole, of whatever status.
pub(crate) struct Exchange {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    who: Who,
    scrubber: Scrubber,
}

/// An answer whose body is still to be read.
pub(crate) struct Opened {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    response: reqwest::Response,
    who: Who,
    scrubber: Scrubber,
}

/// What a platform says of its refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its code for it; empty if it has none.
    pub(crate) code: String,
    /// Its sentence.
    pub(crate) message: String,
}

impl Node {
    /// Makes a call, and reads all of the answer, whatever its status.
    pub(crate) async fn exchange(&self, request: Request<'_>) -> Result<Exchange, CallError> {
        let doing = request.doing;
        let response = self.response(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = self.whole(response, doing).await?;
        Ok(Exchange { status, headers, body, who: self.who(), scrubber: self.scrubber().clone() })
    }

    /// Makes a call whose answer is read piece by piece.
    pub(crate) async fn open(&self, request: Request<'_>) -> Result<Opened, CallError> {
        let response = self.response(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Opened { status, headers, response, who: self.who(), scrubber: self.scrubber().clone() })
    }
}

impl Opened {
    /// The next piece of the body; None at its end. How much there is, is for the caller to bound.
    pub(crate) async fn chunk(&mut self, doing: &str) -> Result<Option<Bytes>, CallError> {
        self.response.chunk().await.map_err(|error| transport(error, doing, &self.scrubber, self.who))
    }
}

impl Exchange {
    /// Whether the status is one of success.
    pub(crate) fn succeeded(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header that is text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the other side asks us to wait, as seconds say it.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.header(RETRY_AFTER))
    }

    /// The other side's words, made harmless.
    pub(crate) fn clean(&self, text: &str, most: usize) -> String {
        self.scrubber.clean(text, most)
    }

    /// The body for whoever asked, without what we signed in with: JSON, or a text of at most `most` characters.
    pub(crate) fn told(&self, most: usize) -> Value {
        match self.value() {
            Some(value) => self.scrubber.document(value),
            None => self.clean(&String::from_utf8_lossy(&self.body), most).into(),
        }
    }

    /// The body, if it is JSON.
    pub(crate) fn value(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body of a success, as JSON of this shape.
    pub(crate) fn json<T: DeserializeOwned>(&self, doing: &str) -> Result<T, CallError> {
        let value: Value = match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) if error.is_eof() && !self.body.trim_ascii().is_empty() => {
                return Err(cut(doing, self.who).detail(self.seen()));
            }
            Err(_) => {
                let message = format!(
                    "What answered while {doing} is not {}: no JSON came back (a login page, or a proxy?). Check the address.",
                    self.who.inside()
                );
                return Err(
                    CallError::permanent(codes::NODE_ANSWER_NOT_JSON, message, Effect::Ended).detail(self.seen())
                );
            }
        };
        serde_json::from_value(value).map_err(|error| {
            let message =
                format!("The answer of {} does not have the shape that its API promises ({doing}).", self.who.inside());
            let detail = self.clean(&error.to_string(), DETAIL_CHARS);
            CallError::permanent(codes::NODE_ANSWER_UNEXPECTED, message, Effect::Ended).detail(detail)
        })
    }

    /// Status and first words, for administrators.
    pub(crate) fn seen(&self) -> String {
        let head = &self.body[..self.body.len().min(8 * DETAIL_CHARS)];
        let words = self.clean(&String::from_utf8_lossy(head), DETAIL_CHARS);
        format!("status {}: {words}", self.status)
    }

    /// What a status that is no success means by itself, with what the platform says of it.
    pub(crate) fn refused(&self, doing: &str, said: &Said) -> CallError {
        self.refused_as(self.status, doing, said)
    }

    /// The same where the platform's words say that another status is meant.
    pub(crate) fn refused_as(&self, status: u16, doing: &str, said: &Said) -> CallError {
        let (who, inside) = (self.who, self.who.inside());
        let words = match (self.clean(&said.code, 100), self.clean(&said.message, SAID_CHARS)) {
            (code, message) if code.is_empty() && message.is_empty() => String::new(),
            (code, message) if message.is_empty() => format!(" It said: {code}."),
            (code, message) if code.is_empty() => format!(" It said: {message}"),
            (code, message) => format!(" It said: {message} ({code})"),
        };
        let permanent = |code: Code, text: String, effect| CallError::permanent(code, format!("{text}{words}"), effect);
        let retryable = |code: Code, text: String, effect| CallError::retryable(code, format!("{text}{words}"), effect);
        let error = match status {
            300..400 => permanent(
                codes::NODE_REDIRECTED,
                format!("{who} answered with a redirect while {doing}, and Slipway follows none. Check the address."),
                Effect::None,
            ),
            401 => permanent(
                codes::NODE_KEY_REJECTED,
                format!("{who} does not accept the credentials ({doing}). Enter them again."),
                Effect::None,
            ),
            403 => permanent(
                codes::NODE_FORBIDDEN,
                format!("{who} forbids {doing}. Check the rights of the credentials."),
                Effect::None,
            ),
            404 => permanent(
                codes::NODE_NOT_FOUND,
                format!("{who} does not have what was asked for while {doing}."),
                Effect::None,
            ),
            408 => CallError { effect: Effect::None, ..timed_out_error(doing, who) },
            429 => retryable(
                codes::NODE_BUSY,
                format!("{who} has too much to do and asked us to come back later ({doing})."),
                Effect::None,
            ),
            400..500 => permanent(
                codes::NODE_REFUSED,
                format!("{who} refused {doing} (status {}).", self.status),
                Effect::Ended,
            ),
            status => retryable(
                codes::NODE_UNAVAILABLE,
                format!("{who}, or a proxy before {inside}, is not available (status {status}, {doing})."),
                if matches!(status, 500 | 503) { Effect::Ended } else { Effect::Unknown },
            ),
        };
        CallError { retry_after: self.retry_after().filter(|_| error.retryable), ..error }.detail(self.seen())
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Exchange({}, {} bytes)", self.status, self.body.len())
    }
}

/// The status of what was opened.
impl Opened {
    /// Whether the status is one of success.
    pub(crate) fn succeeded(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success())
    }

    /// Reads the rest, bounded, for what a refusal says.
    pub(crate) async fn whole(self, node: &Node, doing: &str) -> Result<Exchange, CallError> {
        let body = node.whole(self.response, doing).await?;
        Ok(Exchange { status: self.status, headers: self.headers, body, who: self.who, scrubber: self.scrubber })
    }
}
