//! One connection that carries a subscription.

use std::collections::VecDeque;

use reqwest::{Response, header::CONTENT_TYPE};
use serde_json::Value;
use tokio::time::timeout;

use super::{SILENCE, answer};
use crate::failure::{Failure, Kind};

/// The longest event that is read.
const LONGEST: usize = 4 << 20;

/// A running subscription.
pub(crate) struct Events {
    response: Response,
    buffer: Vec<u8>,
    ready: VecDeque<Value>,
    complete: bool,
}

impl Events {
    pub(super) async fn of(response: Response) -> Result<Self, Failure> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if response.status().is_success() && kind.starts_with("text/event-stream") {
            return Ok(Self { response, buffer: Vec::new(), ready: VecDeque::new(), complete: false });
        }
        let answer = answer::json(response).await?;
        Err(match answer["errors"].get(0) {
            Some(error) => answer::refusal(error),
            None => {
                Failure::new("ANSWER_INVALID", "The server answers a subscription with something else than events.")
            }
        })
    }

    /// The next event; None when the subscription is over. A connection that ends before that is a failure.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return answer::field(&event).map(Some);
            }
            if self.complete {
                return Ok(None);
            }
            let chunk = timeout(SILENCE, self.response.chunk()).await.map_err(|_| answer::silent())?;
            let Some(chunk) = chunk.map_err(|error| answer::unreachable(&error))? else {
                return Err(Failure::of(Kind::Lost, "SERVER_UNREACHABLE", "the API ended the connection"));
            };
            self.buffer.extend_from_slice(&chunk);
            self.read()?;
            if self.buffer.len() > LONGEST {
                return Err(Failure::new("ANSWER_TOO_LARGE", "The server sent an event without an end."));
            }
        }
    }

    /// Takes whole events out of the buffer.
    fn read(&mut self) -> Result<(), Failure> {
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block).into_owned();
            if block.lines().any(|line| line == "event: complete") {
                self.complete = true;
                continue;
            }
            let data: String = block.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
            if !data.is_empty() {
                self.ready.push_back(serde_json::from_str(&data).map_err(|error| {
                    Failure::new("ANSWER_INVALID", format!("The server sent an event that is no JSON: {error}"))
                })?);
            }
        }
        Ok(())
    }
}
