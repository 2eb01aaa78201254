//! What a front says that is not the node's.

use poem::{Response, http::StatusCode};
use serde_json::value::RawValue;

use super::upstream::{Answer, UpstreamError};
use crate::failure::Failure;

/// Of the node's own words, so many characters are passed on in a refusal.
const WORDS: usize = 1_000;

pub(super) fn health() -> Response {
    json(StatusCode::OK, &b"{\"status\":\"alive\"}"[..])
}

pub(super) fn json(status: StatusCode, body: impl Into<poem::Body>) -> Response {
    Response::builder().status(status).content_type("application/json; charset=utf-8").body(body)
}

pub(super) fn away() -> Failure {
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "FRONT_NODE_UNAVAILABLE",
        "The API node in this container does not answer: it starts, stops, or has failed. Ask again in a moment.",
    )
}

pub(super) fn busy() -> Failure {
    Failure::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "Too many queries at once. Ask again in a moment.")
}

pub(super) fn late() -> Failure {
    Failure::new(StatusCode::GATEWAY_TIMEOUT, "FRONT_NODE_TIMED_OUT", "The API node did not answer in time.")
}

/// The node's answer is not what it promises.
pub(super) fn strange(problem: &str) -> Failure {
    Failure::new(
        StatusCode::BAD_GATEWAY,
        "FRONT_ANSWER_INVALID",
        format!("The API node's answer can't be read: {problem}"),
    )
}

/// A body that this contract does not take.
pub(super) fn wrong(field: &str, problem: impl Into<String>) -> Failure {
    Failure::bad_request(problem).about(field)
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Away => away(),
            UpstreamError::TimedOut => late(),
            UpstreamError::TooLarge => strange("it is too large."),
        }
    }
}

impl Answer {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// As it came, if it is JSON.
    pub(super) fn pass(self) -> Result<Response, Failure> {
        let status = self.status();
        // A page of some proxy is nobody's prediction.
        match serde_json::from_slice::<&RawValue>(&self.body) {
            Ok(_) => Ok(json(status, self.body)),
            Err(_) if status.is_success() => Err(strange("it is no JSON.")),
            Err(_) => Err(self.refusal()),
        }
    }

    /// Its body, if it is a success.
    pub(super) fn success(self) -> Result<bytes::Bytes, Failure> {
        if self.status().is_success() { Ok(self.body) } else { Err(self.refusal()) }
    }

    fn refusal(&self) -> Failure {
        let status = match self.status() {
            status if status.is_client_error() || status.is_server_error() => status,
            _ => StatusCode::BAD_GATEWAY,
        };
        let words = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * WORDS)]);
        let words: String = words.chars().filter(|c| !c.is_control()).take(WORDS).collect();
        let said = if words.trim().is_empty() { "nothing more".to_owned() } else { words };
        Failure::new(status, "FRONT_NODE_REFUSED", format!("The API node answered with status {}: {said}", self.status))
    }
}
