//! Operations over WebSocket, after the protocol `graphql-transport-ws`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_graphql::{Executor, Request as Operation, Response as Answer};
use futures_util::{SinkExt, StreamExt, stream, stream::BoxStream};
use poem::{
    FromRequest, IntoResponse, Request, Response,
    web::websocket::{CloseCode, Message, WebSocket, WebSocketConfig, WebSocketStream},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_stream::StreamMap;

use super::{Shared, events::every, is_request_error};
use crate::{
    auth::{self, Claim},
    edge::{Login, RequestId},
    failure::Failure,
    house::{Arrival, House, Key, Pass},
    rate,
};

const PROTOCOL: &str = "graphql-transport-ws";

/// The longest id of an operation.
const LONGEST_ID: usize = 128;

/// Answers the handshake.
pub(super) async fn open<E: Executor, H: House>(
    shared: &Arc<Shared<E, H>>,
    request: Request,
    id: RequestId,
) -> Result<Response, Failure> {
    let offered = request.header("sec-websocket-protocol").unwrap_or_default();
    if !offered.split(',').any(|one| one.trim() == PROTOCOL) {
        return Err(Failure::bad_request(format!("Offer the WebSocket protocol {PROTOCOL}.")));
    }
    let from = auth::arrival(&request);
    // A key in the handshake must be good; without one, connection_init brings it.
    let pass = match auth::claim(&request) {
        Claim::None => None,
        Claim::Malformed => return Err(Failure::unauthenticated()),
        Claim::Key(key) => Some(auth::admit(&*shared.house, key, from.clone()).await?),
    };
    let login = pass.as_ref().map(|pass| Login(shared.house.login(&pass.viewer).into()));
    let (request, mut body) = request.split();
    let socket = WebSocket::from_request(&request, &mut body)
        .await
        .map_err(|_| Failure::bad_request("This is no WebSocket handshake."))?;
    let limit = Some(shared.settings.body_limit);
    let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
    let shared = shared.clone();
    let upgraded = socket.protocols([PROTOCOL]).config(config).on_upgrade(move |socket| async move {
        let _open = shared.metrics.open("websocket");
        let connection =
            Connection { shared, socket, pass, from, ready: false, id, running: StreamMap::new(), heard: true };
        connection.serve().await;
    });
    let mut response = upgraded.into_response();
    if let Some(login) = login {
        response.set_data(login);
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum FromClient {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Value>,
    },
    Ping {
        #[serde(default)]
        payload: Option<Value>,
    },
    Pong {},
    Subscribe {
        id: String,
        payload: Box<Operation>,
    },
    Complete {
        id: String,
    },
}

enum Item {
    Answer(Box<Answer>),
    End,
}

/// Why a connection ends: a code of the protocol, and words that fit into a close frame.
struct Close(u16, String);

impl Close {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self(code, reason.into())
    }
}

/// How a turn ends: go on, say goodbye, or the client is gone.
enum End {
    Close(Close),
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

struct Connection<E, H: House> {
    shared: Arc<Shared<E, H>>,
    socket: WebSocketStream,
    pass: Option<Pass<H::Viewer>>,
    from: Arrival,
    /// `connection_init` was accepted.
    ready: bool,
    id: RequestId,
    running: StreamMap<String, BoxStream<'static, Item>>,
    /// The client said something since the last ping.
    heard: bool,
}

impl<E: Executor, H: House> Connection<E, H> {
    async fn serve(mut self) {
        let Err(end) = self.turns().await;
        if let End::Close(Close(code, reason)) = end {
            // The client may be gone already; there is nobody left to tell.
            let goodbye = Message::close_with(CloseCode::from(code), reason);
            drop(timeout(Duration::from_secs(5), self.socket.send(goodbye)).await);
            drop(timeout(Duration::from_secs(5), self.socket.close()).await);
        }
    }

    async fn turns(&mut self) -> Result<Infallible, End> {
        let settings = self.shared.settings.clone();
        let shutdown = self.shared.shutdown.clone();
        let init_until = Instant::now() + settings.socket_init();
        let mut ping = every(settings.ping());
        let mut recheck = every(settings.recheck());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Err(Close::new(1001, "The server goes away. Connect again.").into()),
                () = tokio::time::sleep_until(init_until), if !self.ready => {
                    return Err(Close::new(4408, "Connection initialisation timeout").into());
                }
                message = self.socket.next() => match message {
                    Some(Ok(message)) => {
                        self.heard = true;
                        self.hear(message).await?;
                    }
                    Some(Err(_)) | None => return Err(End::Gone),
                },
                Some((id, item)) = self.running.next() => self.tell(id, item).await?,
                _ = recheck.tick(), if self.ready => self.recheck().await?,
                _ = ping.tick(), if self.ready => {
                    if !std::mem::take(&mut self.heard) {
                        return Err(Close::new(4408, "No answer to a ping").into());
                    }
                    self.send(json!({"type": "ping"})).await?;
                }
            }
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        let text = match message {
            Message::Text(text) => text,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
            Message::Binary(_) => return Err(Close::new(4400, "Send text messages").into()),
        };
        let message = serde_json::from_str(&text).map_err(|_| Close::new(4400, "Invalid message"))?;
        match message {
            FromClient::ConnectionInit { payload } => self.init(payload).await,
            FromClient::Ping { payload } => {
                let mut pong = json!({"type": "pong"});
                if let Some(payload) = payload {
                    pong["payload"] = payload;
                }
                self.send(pong).await
            }
            FromClient::Pong {} => Ok(()),
            FromClient::Subscribe { id, payload } => self.subscribe(id, *payload).await,
            FromClient::Complete { id } => {
                self.running.remove(&id);
                Ok(())
            }
        }
    }

    /// `{"authorization": "Bearer KEY"}` or `{"apiKey": "KEY"}`; not needed if the handshake brought a key.
    async fn init(&mut self, payload: Option<Value>) -> Result<(), End> {
        if self.ready {
            return Err(Close::new(4429, "Too many initialisation requests").into());
        }
        let forbidden = || Close::new(4403, "Forbidden");
        let text = |name: &str| payload.as_ref().and_then(|payload| payload.get(name));
        let key = if let Some(value) = text("authorization").or_else(|| text("Authorization")) {
            Some(value.as_str().and_then(auth::parse).ok_or_else(forbidden)?)
        } else if let Some(value) = text("apiKey") {
            Some(value.as_str().and_then(Key::new).ok_or_else(forbidden)?)
        } else {
            self.pass.as_ref().map(|pass| pass.key.clone())
        };
        self.enter(key.ok_or_else(forbidden)?).await?;
        self.ready = true;
        self.send(json!({"type": "connection_ack"})).await
    }

    async fn enter(&mut self, key: Key) -> Result<(), End> {
        match auth::admit(&*self.shared.house, key, self.from.clone()).await {
            Ok(pass) => {
                self.pass = Some(pass);
                Ok(())
            }
            Err(failure) if failure == Failure::unauthenticated() => Err(Close::new(4403, "Forbidden").into()),
            Err(_) => Err(Close::new(1011, "Something failed on our side. Connect again.").into()),
        }
    }

    /// A revoked key ends the connection. What cannot be found out now is asked again later.
    async fn recheck(&mut self) -> Result<(), End> {
        let Some(key) = self.pass.as_ref().map(|pass| pass.key.clone()) else { return Ok(()) };
        match self.enter(key).await {
            Err(End::Close(Close(1011, _))) => Ok(()),
            other => other,
        }
    }

    async fn subscribe(&mut self, id: String, mut operation: Operation) -> Result<(), End> {
        if !self.ready {
            return Err(Close::new(4401, "Unauthorized").into());
        }
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(Close::new(4400, format!("An id has 1 to {LONGEST_ID} bytes")).into());
        }
        if self.running.contains_key(&id) {
            let shown: String = id.chars().take(40).collect();
            return Err(Close::new(4409, format!("Subscriber for {shown} already exists")).into());
        }
        if self.running.len() >= self.shared.settings.socket_operations {
            let message =
                format!("One connection runs at most {} operations at once.", self.shared.settings.socket_operations);
            let payload = json!([{"message": message, "extensions": {"code": "TOO_MANY_OPERATIONS"}}]);
            return self.send(json!({"id": id, "type": "error", "payload": payload})).await;
        }
        let Some(key) = self.pass.as_ref().map(|pass| pass.key.clone()) else {
            return Err(Close::new(4401, "Unauthorized").into());
        };
        let cost = rate::cost_of(&mut operation, &self.shared.settings.limits);
        if let Err(failure) = self.shared.rates.take(&key, cost) {
            let payload: Vec<Value> = failure
                .problems
                .iter()
                .map(|problem| json!({"message": problem.message, "extensions": {"code": problem.code}}))
                .collect();
            return self.send(json!({"id": id, "type": "error", "payload": payload})).await;
        }
        self.enter(key).await?;
        if let Some(pass) = &self.pass {
            operation.data = self.shared.house.request_data(pass, &self.id.0);
        }
        let answers = self.shared.stream(operation).map(|answer| Item::Answer(Box::new(answer)));
        self.running.insert(id, answers.chain(stream::once(async { Item::End })).boxed());
        Ok(())
    }

    async fn tell(&mut self, id: String, item: Item) -> Result<(), End> {
        let message = match item {
            Item::End => {
                self.running.remove(&id);
                json!({"id": id, "type": "complete"})
            }
            Item::Answer(answer) if is_request_error(&answer) => {
                self.running.remove(&id);
                json!({"id": id, "type": "error", "payload": answer.errors})
            }
            Item::Answer(answer) => json!({"id": id, "type": "next", "payload": answer}),
        };
        self.send(message).await
    }

    async fn send(&mut self, message: Value) -> Result<(), End> {
        match timeout(self.shared.settings.send_timeout(), self.socket.send(Message::text(message.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}
