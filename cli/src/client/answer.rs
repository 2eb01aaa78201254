//! What an answer says: its data, a refusal, or nothing that can be relied on.

use reqwest::Response;
use serde_json::Value;
use tokio::time::timeout;

use super::SILENCE;
use crate::failure::{Failure, Kind};

/// The longest answer that is read.
const LONGEST: usize = 64 << 20;

/// Codes that leave open what was done, or say that it may pass.
const PASSING: [&str; 8] = [
    "DATABASE_UNAVAILABLE",
    "INTERNAL",
    "RATE_LIMITED",
    "TIMEOUT",
    "UPLOADS_BUSY",
    "UPLOAD_CUT",
    "UPLOAD_INTERRUPTED",
    "UPLOAD_STALLED",
];

/// The JSON of an answer of Slipway's, be it an error.
pub(super) async fn json(mut response: Response) -> Result<Value, Failure> {
    let status = response.status();
    if status.is_redirection() {
        let location = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
        let message = format!(
            "The address leads to {location}, and redirects are not followed. Give the address that it leads to."
        );
        return Err(Failure::new("ANSWER_INVALID", message));
    }
    let mut body = Vec::new();
    loop {
        let chunk = timeout(SILENCE, response.chunk()).await.map_err(|_| silent())?;
        let Some(chunk) = chunk.map_err(|error| unreachable(&error))? else { break };
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(Failure::new("ANSWER_TOO_LARGE", "The server's answer has no end."));
        }
    }
    match serde_json::from_slice::<Value>(&body) {
        Ok(answer) if answer.is_object() => Ok(answer),
        // A proxy in between, whose backend is away.
        _ if status.is_server_error() || matches!(status.as_u16(), 408 | 429) => {
            Err(Failure::of(Kind::Lost, "SERVER_UNREACHABLE", format!("the address answers {status}")))
        }
        _ => {
            let message =
                format!("The address answers {status}, and nothing that Slipway's API answers. Is it the API's?");
            Err(Failure::new("ANSWER_INVALID", message))
        }
    }
}

/// The first field of an answer's data.
pub(super) fn field(answer: &Value) -> Result<Value, Failure> {
    if let Some(error) = answer["errors"].get(0) {
        return Err(refusal(error));
    }
    let Some(field) = answer["data"].as_object().and_then(|data| data.values().next()) else {
        return Err(Failure::new("ANSWER_INVALID", "The server's answer holds no data."));
    };
    match field["refusals"].get(0) {
        Some(error) => Err(refusal(error)),
        None => Ok(field.clone()),
    }
}

/// An error of GraphQL, one of an upload, or a refusal.
pub(super) fn refusal(error: &Value) -> Failure {
    let code = error["extensions"]["code"].as_str().or_else(|| error["code"].as_str()).unwrap_or("UNKNOWN");
    let kind = if PASSING.contains(&code) { Kind::Lost } else { Kind::Refused };
    let mut message = error["message"].as_str().unwrap_or("The server gives no reason.").to_owned();
    if code == "UNAUTHENTICATED" {
        // The API's own words are about the wire.
        message = "The API does not take this key: it is wrong, expired or revoked, or its user is disabled. Give a good one in SLIPWAY_API_KEY or with --key-file, or log in anew with `slipway login`.".to_owned();
    }
    if let Some(number) = error["extensions"]["requestId"].as_str() {
        message = format!("{message} Its number is {number}.");
    }
    Failure::of(kind, code, message).about(error["field"].as_str())
}

/// There was no answer, or it broke off.
pub(super) fn unreachable(error: &reqwest::Error) -> Failure {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // What the causes repeat is said once.
        let said = error.to_string();
        if !message.contains(&said) {
            message = format!("{message}: {said}");
        }
        cause = error.source();
    }
    Failure::of(Kind::Lost, "SERVER_UNREACHABLE", message)
}

pub(super) fn silent() -> Failure {
    Failure::of(Kind::Lost, "SERVER_UNREACHABLE", format!("the API said nothing for {} s", SILENCE.as_secs()))
}
