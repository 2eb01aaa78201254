//! A client of Slipway's own GraphQL API: requests over HTTP, subscriptions as server-sent events.

use std::collections::VecDeque;

use reqwest::{Client as Http, Response, header::ACCEPT};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The longest event that is read.
const LONGEST: usize = 4 << 20;

/// Talks to one installation with one key.
#[derive(Clone)]
pub(crate) struct Client {
    http: Http,
    base: String,
    key: String,
}

impl Client {
    pub(crate) fn new(base: &str, key: &str) -> Result<Self, Failure> {
        let http = Http::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(unreachable)?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), key: key.to_owned() })
    }

    /// Runs a query or a mutation and answers the first field of its data. A mutation's refusals are a failure.
    pub(crate) async fn run(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let body = json!({ "query": document, "variables": variables });
        let answer = self.http.post(self.url("/graphql")).bearer_auth(&self.key).json(&body).send().await;
        let answer: Value = answer.map_err(unreachable)?.json().await.map_err(unreachable)?;
        let field = first_field(&answer)?;
        match field["refusals"].get(0) {
            Some(refusal) => Err(Failure::new(text(&refusal["code"]), text(&refusal["message"]))),
            None => Ok(field),
        }
    }

    /// Uploads a bundle.
    pub(crate) async fn upload(&self, file_name: &str, content: Vec<u8>) -> Result<Value, Failure> {
        let part = reqwest::multipart::Part::bytes(content).file_name(file_name.to_owned());
        let form = reqwest::multipart::Form::new().part("file", part);
        let answer = self.http.post(self.url("/bundles")).bearer_auth(&self.key).multipart(form).send().await;
        let answer: Value = answer.map_err(unreachable)?.json().await.map_err(unreachable)?;
        match answer["errors"].get(0) {
            Some(error) => Err(Failure::new(text(&error["code"]), text(&error["message"]))),
            None => Ok(answer),
        }
    }

    /// Subscribes; each event is the first field of its data.
    pub(crate) async fn subscribe(&self, document: &str, variables: Value) -> Result<Events, Failure> {
        let body = json!({ "query": document, "variables": variables });
        let request = self.http.post(self.url("/graphql")).bearer_auth(&self.key).header(ACCEPT, "text/event-stream");
        let response = request.json(&body).send().await.map_err(unreachable)?;
        Ok(Events { response, buffer: Vec::new(), ready: VecDeque::new() })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// A running subscription.
pub(crate) struct Events {
    response: Response,
    buffer: Vec<u8>,
    ready: VecDeque<Value>,
}

impl Events {
    /// The next event; None when the subscription is over.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return first_field(&event).map(Some);
            }
            let Some(chunk) = self.response.chunk().await.map_err(unreachable)? else { return Ok(None) };
            self.buffer.extend_from_slice(&chunk);
            if self.buffer.len() > LONGEST {
                return Err(Failure::new("ANSWER_TOO_LARGE", "The server sent an event without an end."));
            }
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let block = String::from_utf8_lossy(&block).into_owned();
                let data: String = block.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
                if !data.is_empty() && !block.contains("event: complete") {
                    self.ready.push_back(serde_json::from_str(&data).map_err(|error| {
                        Failure::new("ANSWER_INVALID", format!("The server sent an event that is no JSON: {error}"))
                    })?);
                }
            }
        }
    }
}

fn first_field(answer: &Value) -> Result<Value, Failure> {
    if let Some(error) = answer["errors"].get(0) {
        return Err(Failure::new(text(&error["extensions"]["code"]), text(&error["message"])));
    }
    match answer["data"].as_object().and_then(|data| data.values().next()) {
        Some(field) => Ok(field.clone()),
        None => Err(Failure::new("ANSWER_INVALID", "The server's answer holds no data.")),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("UNKNOWN").to_owned()
}

fn unreachable(error: reqwest::Error) -> Failure {
    Failure::new("SERVER_UNREACHABLE", error.to_string())
}
