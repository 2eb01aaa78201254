//! Operations over WebSocket.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use crate::toy::{KEY, Server, start, start_with};

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

#[derive(Debug, PartialEq)]
enum Heard {
    Message(Value),
    Closed(u16, String),
}

async fn shake(server: &Server, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
    let mut request = format!("ws://{}/graphql", server.at).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(Client(socket)),
        Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

async fn connect(server: &Server) -> Client {
    shake(server, &[PROTOCOL]).await.unwrap_or_else(|status| panic!("{status}"))
}

async fn ready(server: &Server) -> Client {
    let mut client = connect(server).await;
    client.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {KEY}")}})).await;
    assert_eq!(client.hear().await, Heard::Message(json!({"type": "connection_ack"})));
    client
}

impl Client {
    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"id": id, "type": "subscribe", "payload": {"query": query}})).await;
    }

    /// The next thing that is no ping; pings are answered.
    async fn hear(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await.unwrap();
            match message {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "ping" {
                        return Heard::Message(message);
                    }
                    self.say(json!({"type": "pong"})).await;
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Heard::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code, _) = self.hear().await {
                return code;
            }
        }
    }
}

#[tokio::test]
async fn the_handshake_is_checked() {
    let server = start().await;
    assert_eq!(shake(&server, &[]).await.err(), Some(400), "no protocol");
    assert_eq!(shake(&server, &[("sec-websocket-protocol", "graphql-ws")]).await.err(), Some(400), "an old protocol");
    assert_eq!(shake(&server, &[PROTOCOL, ("origin", "https://evil.test")]).await.err(), Some(403));
    assert_eq!(shake(&server, &[PROTOCOL, ("authorization", "Bearer nope")]).await.err(), Some(401));
    assert!(shake(&server, &[PROTOCOL, ("origin", &server.url(""))]).await.is_ok());
}

#[tokio::test]
async fn the_key_comes_by_init_or_by_header() {
    let server = start().await;
    for payload in [
        json!({"authorization": format!("Bearer {KEY}")}),
        json!({"Authorization": format!("Bearer {KEY}")}),
        json!({"apiKey": KEY}),
    ] {
        let mut client = connect(&server).await;
        client.say(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(client.hear().await, Heard::Message(json!({"type": "connection_ack"})), "{payload}");
    }
    let header = format!("Bearer {KEY}");
    let mut client =
        shake(&server, &[PROTOCOL, ("authorization", &header)]).await.unwrap_or_else(|status| panic!("{status}"));
    client.say(json!({"type": "connection_init"})).await;
    assert_eq!(client.hear().await, Heard::Message(json!({"type": "connection_ack"})));
    for payload in [
        json!({"authorization": "Bearer nope"}),
        json!({"apiKey": "nope"}),
        json!({"apiKey": 1}),
        json!({}),
        Value::Null,
    ] {
        let mut client = connect(&server).await;
        client.say(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(client.closed().await, 4403, "{payload}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_dropped() {
    let server = start().await;
    assert_eq!(connect(&server).await.closed().await, 4408);
}

#[tokio::test]
async fn breaches_of_the_protocol_have_their_codes() {
    let server = start().await;
    let mut client = connect(&server).await;
    client.subscribe("1", "{ me }").await;
    assert_eq!(client.closed().await, 4401);

    let mut client = ready(&server).await;
    client.say(json!({"type": "connection_init"})).await;
    assert_eq!(client.closed().await, 4429);

    for bad in [
        json!({"type": "start", "id": "1"}),
        json!({"type": "subscribe"}),
        json!(1),
        json!({"type": "subscribe", "id": "", "payload": {"query": "{ me }"}}),
    ] {
        let mut client = ready(&server).await;
        client.say(bad.clone()).await;
        assert_eq!(client.closed().await, 4400, "{bad}");
    }

    let mut client = ready(&server).await;
    client.subscribe("a", "subscription { ticks(to: 0) { seq } }").await;
    client.subscribe("a", "{ me }").await;
    assert_eq!(client.closed().await, 4409);
}

#[tokio::test]
async fn operations_run_side_by_side() {
    let server = start().await;
    let mut client = ready(&server).await;
    client.subscribe("quiet", "subscription { ticks(to: 0) { seq } }").await;
    client.subscribe("q", "{ me }").await;
    assert_eq!(
        client.hear().await,
        Heard::Message(json!({"id": "q", "type": "next", "payload": {"data": {"me": "ada"}}}))
    );
    assert_eq!(client.hear().await, Heard::Message(json!({"id": "q", "type": "complete"})));
    client.subscribe("t", "subscription { ticks(to: 2) { seq } }").await;
    for seq in 1..=2 {
        assert_eq!(
            client.hear().await,
            Heard::Message(json!({"id": "t", "type": "next", "payload": {"data": {"ticks": {"seq": seq}}}}))
        );
    }
    assert_eq!(client.hear().await, Heard::Message(json!({"id": "t", "type": "complete"})));
    client.subscribe("e", "{ nothing }").await;
    let Heard::Message(error) = client.hear().await else { panic!("closed") };
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("e")));
    assert!(error["payload"][0]["message"].is_string());
    client.subscribe("m", "mutation { count }").await;
    assert_eq!(
        client.hear().await,
        Heard::Message(json!({"id": "m", "type": "next", "payload": {"data": {"count": 1}}}))
    );
    assert_eq!(client.hear().await, Heard::Message(json!({"id": "m", "type": "complete"})));
    // The limits hold here, too.
    client.subscribe("deep", &format!("{{ {} me {} }}", "this {".repeat(30), "}".repeat(30))).await;
    let Heard::Message(error) = client.hear().await else { panic!("closed") };
    assert_eq!(error["type"], "error");
    // An id is free again after complete.
    client.say(json!({"id": "quiet", "type": "complete"})).await;
    client.subscribe("quiet", "{ me }").await;
    assert_eq!(
        client.hear().await,
        Heard::Message(json!({"id": "quiet", "type": "next", "payload": {"data": {"me": "ada"}}}))
    );
}

#[tokio::test]
async fn operations_are_bounded() {
    let server = start_with(api::Settings { socket_operations: 2, ..api::Settings::default() }).await;
    let mut client = ready(&server).await;
    for id in ["a", "b", "c"] {
        client.subscribe(id, "subscription { ticks(to: 0) { seq } }").await;
    }
    let Heard::Message(error) = client.hear().await else { panic!("closed") };
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("c")));
    assert_eq!(error["payload"][0]["extensions"]["code"], "TOO_MANY_OPERATIONS");
}

#[tokio::test]
async fn pings_are_answered() {
    let server = start().await;
    let mut client = connect(&server).await;
    client.say(json!({"type": "ping", "payload": {"n": 1}})).await;
    assert_eq!(client.hear().await, Heard::Message(json!({"type": "pong", "payload": {"n": 1}})));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_dropped() {
    let server = start().await;
    let mut client = ready(&server).await;
    let mut pings = 0;
    let code = loop {
        match tokio::time::timeout(Duration::from_secs(20), client.0.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) if text.contains("ping") => pings += 1,
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 4408);
    assert_eq!(pings, 1);
}

#[tokio::test]
async fn a_revoked_key_ends_what_runs() {
    let server = start().await;
    let mut client = ready(&server).await;
    client.subscribe("a", "subscription { ticks(to: 0) { seq } }").await;
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, Heard::Message(json!({"type": "pong"})), "it runs");
    server.toy.0.revoked.store(true, Ordering::SeqCst);
    assert_eq!(client.closed().await, 4403);
}

#[tokio::test]
async fn a_shutdown_says_goodbye() {
    let server = start().await;
    let mut client = ready(&server).await;
    server.shutdown.cancel();
    assert_eq!(client.closed().await, 1001);
}

#[tokio::test]
async fn who_asks_too_often_is_refused_and_may_stay() {
    let settings = api::Settings { key_requests_per_second: 1, key_burst: 2, ..api::Settings::default() };
    let server = start_with(settings).await;
    let mut client = ready(&server).await;
    client.subscribe("full", "{ a: me b: me }").await;
    client.subscribe("last", "{ me }").await;
    client.subscribe("over", "{ me }").await;
    loop {
        let Heard::Message(message) = client.hear().await else { panic!("closed") };
        if message["id"] == "over" {
            assert_eq!(message["type"], "error");
            assert_eq!(message["payload"][0]["extensions"]["code"], "RATE_LIMITED");
            return;
        }
    }
}
