//! Subscriptions: as server-sent events, and over WebSocket.

use std::{collections::VecDeque, time::Duration};

use futures_util::{SinkExt, StreamExt};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::client::Client;

const SILENCE: Duration = Duration::from_secs(60);

/// A subscription by server-sent events.
#[derive(Debug)]
pub struct Events {
    response: Response,
    buffer: Vec<u8>,
    ready: VecDeque<Value>,
    complete: bool,
}

/// A WebSocket that speaks `graphql-transport-ws`.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Subscribes by server-sent events.
    ///
    /// # Panics
    /// When there is no stream.
    pub async fn subscribe(&self, document: &str) -> Events {
        let body = json!({"query": document});
        let request = crate::client::http().post(format!("{}/graphql", self.url())).bearer_auth(self.key()).json(&body);
        let response = request.header("accept", "text/event-stream").send().await.expect("an answer");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{} {kind}", response.status());
        Events { response, buffer: Vec::new(), ready: VecDeque::new(), complete: false }
    }

    /// Opens a WebSocket that speaks `graphql-transport-ws`, and says who it is.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn socket(&self) -> Socket {
        let url = format!("{}/graphql", self.url().replacen("http", "ws", 1));
        let mut request = url.into_client_request().expect("a URL");
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().expect("a header"));
        let (stream, _) = connect_async(request).await.expect("a WebSocket");
        let mut socket = Socket { stream };
        let authorization = format!("Bearer {}", self.key());
        socket.say(json!({"type": "connection_init", "payload": {"authorization": authorization}})).await;
        assert_eq!(socket.hear().await, json!({"type": "connection_ack"}));
        socket
    }
}

impl Events {
    /// The next answer as it came, errors and all; None at the end.
    ///
    /// # Panics
    /// When the stream breaks off, or is silent for a minute.
    pub async fn next_answer(&mut self) -> Option<Value> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some(answer);
            }
            if self.complete {
                return None;
            }
            let chunk =
                tokio::time::timeout(SILENCE, self.response.chunk()).await.expect("a stream that is not silent");
            let chunk = chunk.expect("a stream that goes on").expect("a stream says when it is complete");
            self.buffer.extend_from_slice(&chunk);
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let block = String::from_utf8(block).expect("UTF-8");
                if block.starts_with("event: complete") {
                    self.complete = true;
                } else if let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) {
                    self.ready.push_back(serde_json::from_str(data).expect("an event is JSON"));
                }
            }
        }
    }

    /// The one field of the next answer; None at the end.
    ///
    /// # Panics
    /// When it is an error.
    pub async fn next(&mut self) -> Option<Value> {
        self.next_answer().await.map(first_field)
    }

    /// All that comes until the end.
    ///
    /// # Panics
    /// When one is an error.
    pub async fn rest(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

impl Socket {
    /// Sends a message of the protocol.
    ///
    /// # Panics
    /// When the other side is gone.
    pub async fn say(&mut self, message: Value) {
        self.stream.send(Message::text(message.to_string())).await.expect("a WebSocket takes a message");
    }

    /// The next message that is no ping.
    ///
    /// # Panics
    /// When the other side closes, or is silent for a minute.
    pub async fn hear(&mut self) -> Value {
        loop {
            let heard = tokio::time::timeout(SILENCE, self.stream.next()).await;
            match heard.expect("a WebSocket that is not silent") {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("a message is JSON");
                    if message["type"] != "ping" {
                        return message;
                    }
                    self.say(json!({"type": "pong"})).await;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("the WebSocket ended: {other:?}"),
            }
        }
    }

    /// Subscribes under this id, and returns the one field of each answer until the end.
    ///
    /// # Panics
    /// When one is an error.
    pub async fn all(&mut self, id: &str, document: &str) -> Vec<Value> {
        self.say(json!({"id": id, "type": "subscribe", "payload": {"query": document}})).await;
        let mut all = Vec::new();
        loop {
            let mut message = self.hear().await;
            assert_eq!(message["id"], id, "{message:#}");
            match message["type"].as_str() {
                Some("next") => all.push(first_field(message["payload"].take())),
                Some("complete") => return all,
                _ => panic!("{message:#}"),
            }
        }
    }
}

fn first_field(mut answer: Value) -> Value {
    assert!(answer.get("errors").is_none(), "{answer:#}");
    let data = answer["data"].as_object_mut().and_then(|data| data.values_mut().next());
    data.expect("an event has a field").take()
}
