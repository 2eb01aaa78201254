//! The log of queries, kept on the node and sent to event servers.

use super::client::{Scene, scene};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Endpoint, Request, Response, Server};
use reqwest::{Method, StatusCode};
use sandbox::{Delivery, ServiceSpec};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

const EVENT_KEY: &str = "event-secret";

/// An event server: keeps path, authorization and body of each call, and answers a status.
#[derive(Clone)]
struct Receiver {
    status: StatusCode,
    heard: Arc<Mutex<Vec<(String, String, Value)>>>,
    gate: watch::Receiver<bool>,
}

impl Endpoint for Receiver {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let body: Value = serde_json::from_slice(&request.take_body().into_bytes().await?).unwrap();
        let key = request.header("authorization").unwrap_or_default().to_owned();
        self.heard.lock().unwrap().push((request.uri().path().to_owned(), key, body));
        self.gate.clone().wait_for(|open| *open).await.unwrap();
        Ok(Response::builder().status(self.status).finish())
    }
}

async fn receiver(status: StatusCode, gate: &watch::Sender<bool>) -> (String, Receiver) {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
    let url = format!("http://{}/base/", acceptor.local_addr()[0].as_socket_addr().unwrap());
    let receiver = Receiver { status, heard: Arc::default(), gate: gate.subscribe() };
    tokio::spawn(Server::new_with_acceptor(acceptor).run(receiver.clone()));
    (url, receiver)
}

fn to(url: &str) -> Value {
    json!({"routingKey": "churn-on-prod", "targets": [
        {"type": "EVENT_SERVER", "url": url, "authKey": EVENT_KEY, "topics": ["apinode-query"]},
        {"type": "KAFKA", "brokers": ["k:9092"], "password": "kafka-secret"},
    ]})
}

async fn query(scene: &Scene, amount: u32) {
    let body = json!({"features": {"amount": amount}, "context": {"who": "test"}});
    assert_eq!(scene.client.query("s/score/predict", &body).await.0, StatusCode::OK);
}

#[tokio::test]
async fn each_query_that_was_answered_is_an_event() {
    let scene = scene().await;
    let spec = ServiceSpec::new("s", "v1");
    let spec = spec.endpoint("sql", "SQL_QUERY").endpoint("find", "DATASETS_LOOKUP").endpoint("f", "PY_FUNCTION");
    scene.serve(&[spec]).await;
    query(&scene, 3).await;
    scene.client.get("/public/api/v1/s/score/predict-simple?amount=4").await;
    for (call, body) in [
        ("s/sql/query", json!({"min": 1})),
        ("s/find/lookup", json!({"data": {"id": 1}})),
        ("s/f/run", json!({"x": "y".repeat(70_000)})),
        ("s/score/predict", json!({})),
        ("s/nothing/predict", json!({})),
    ] {
        scene.client.query(call, &body).await;
    }
    let events = scene.node.events();
    let kinds: Vec<_> = events.iter().map(|event| event["clientEvent"]["msgType"].as_str().unwrap()).collect();
    let wanted = ["prediction-query", "prediction-query", "sql-query", "dataset-lookup-query", "function-query"];
    assert_eq!(kinds, wanted, "what was refused is none");
    assert_eq!((&events[0]["topic"], &events[0]["routingKey"]), (&json!("apinode-query"), &json!("s")));
    let first = &events[0]["clientEvent"];
    assert_eq!((&first["serviceGeneration"], &first["endpointId"]), (&json!("v1"), &json!("score")));
    assert_eq!(first["query"], json!({"features": {"amount": 3}, "context": {"who": "test"}}));
    assert_eq!(first["answer"]["result"]["prediction"], 3.0);
    assert!(first["timestamp"].is_i64());
    assert_eq!(events[1]["clientEvent"]["query"], json!({"features": {"amount": "4"}}));
    assert_eq!(events[4]["clientEvent"]["query"], Value::Null, "too long to be kept");

    let shown = scene.node.snapshot()["events"].clone();
    assert_eq!((shown.as_array().unwrap().len(), shown[0]["clientEvent"].get("timestamp")), (5, None));
    assert_eq!(scene.client.get("/sandbox/events").await["events"][0], events[0]);
    scene.client.send(Method::DELETE, "/sandbox/events", None).await;
    assert_eq!(scene.node.events(), Vec::<Value>::new());
}

#[tokio::test]
async fn events_go_to_the_event_server_of_the_generation() {
    let gate = watch::Sender::new(false);
    let (url, receiver) = receiver(StatusCode::OK, &gate).await;
    let scene = scene().await;
    scene.serve(&[ServiceSpec::new("s", "v1").with("auditing", to(&url))]).await;
    for amount in 0..10 {
        query(&scene, amount).await;
    }
    // Queries are answered while the event server is not.
    gate.send_replace(true);
    let delivery = scene.node.until_delivery(|delivery| delivery.sent >= 10).await;
    assert_eq!(delivery, Delivery { sent: 10, failed: 0, dropped: 0 });
    let heard = receiver.heard.lock().unwrap().clone();
    assert!(heard.len() < 10, "what waits goes together");
    let mut events = Vec::new();
    for (path, key, body) in heard {
        assert_eq!((path.as_str(), key), ("/base/events", format!("Bearer {EVENT_KEY}")));
        events.extend(body["events"].as_array().unwrap().iter().cloned());
    }
    assert_eq!(events, scene.node.events());
    assert!(events.iter().all(|event| event["routingKey"] == "churn-on-prod" && event["topic"] == "apinode-query"));

    let state = scene.client.get("/sandbox/state").await;
    let auditing = &state["services"]["s"]["generations"][0]["auditing"];
    assert_eq!((&auditing["targets"][0]["url"], &auditing["targets"][0]["authKey"]), (&json!(url), &json!("***")));
    assert_eq!(
        (&auditing["routingKey"], &auditing["targets"][1]["brokers"]),
        (&json!("churn-on-prod"), &json!(["k:9092"]))
    );
    assert!(!state.to_string().contains(EVENT_KEY) && !state.to_string().contains("kafka-secret"));
}

#[tokio::test]
async fn an_event_server_that_refuses_or_is_not_there_harms_no_query() {
    let gate = watch::Sender::new(true);
    let (url, receiver) = receiver(StatusCode::UNAUTHORIZED, &gate).await;
    let scene = scene().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = to(&format!("http://{free}"));
    scene
        .serve(&[
            ServiceSpec::new("s", "v1").with("auditing", to(&url)),
            ServiceSpec::new("s", "v2").with("auditing", gone),
            ServiceSpec::new("s", "v3").with("auditing", to("https://127.0.0.1:1")),
        ])
        .await;
    for (number, generation) in (1..).zip(["v1", "v2", "v3"]) {
        scene.client.post(&format!("/admin/api/services/s/actions/switchTo/{generation}"), None).await;
        query(&scene, 1).await;
        scene.node.until_delivery(|delivery| delivery.failed == number).await;
    }
    assert_eq!(receiver.heard.lock().unwrap().len(), 1, "it is not sent again");
    assert_eq!(scene.client.get("/sandbox/events").await["delivery"], json!({"sent": 0, "failed": 3, "dropped": 0}));
}
