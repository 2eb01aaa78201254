use std::sync::{Arc, Mutex};

use bytes::Bytes;
use poem::{
    Endpoint, Request,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Answer, FrontSettings, Platform, Upstream, UpstreamError, Verb, front};

/// A node that says what it was asked: each result holds its question. Its answers can be replaced.
#[derive(Clone, Default)]
struct Echo {
    asked: Arc<Mutex<Vec<(&'static str, Value)>>>,
    instead: Option<(u16, &'static str)>,
    fails: Option<UpstreamError>,
}

impl Upstream for Echo {
    async fn ask(&self, verb: &'static str, body: Bytes) -> Result<Answer, UpstreamError> {
        let body: Value = serde_json::from_slice(&body).unwrap();
        self.asked.lock().unwrap().push((verb, body.clone()));
        if let Some(error) = self.fails {
            return Err(error);
        }
        if let Some((status, body)) = self.instead {
            return Ok(Answer { status, body: Bytes::from_static(body.as_bytes()) });
        }
        let answer = match body["items"].as_array() {
            Some(items) => json!({"results": items.iter().map(|item| json!({"of": item})).collect::<Vec<_>>()}),
            None => json!({"of": body}),
        };
        Ok(Answer { status: 200, body: answer.to_string().into() })
    }

    async fn alive(&self) -> bool {
        self.fails.is_none()
    }
}

struct Case {
    platform: Platform,
    verb: Verb,
    arguments: &'static [&'static str],
    node: Echo,
    open: bool,
}

impl Case {
    fn new(platform: Platform, verb: Verb) -> Self {
        Self { platform, verb, arguments: &[], node: Echo::default(), open: true }
    }

    async fn call(&self, method: Method, path: &str, body: impl Into<String>) -> (StatusCode, Value) {
        let settings = FrontSettings {
            platform: self.platform,
            routes: self.platform.routes(),
            verb: self.verb,
            arguments: self.arguments.iter().map(|&name| name.to_owned()).collect(),
            body_limit: 1_000_000,
            timeout: std::time::Duration::from_secs(30),
            at_once: 4,
        };
        let (_, open) = watch::channel(self.open);
        let (front, _) = front(settings, self.node.clone(), open);
        let request = Request::builder().method(method).uri(path.parse().unwrap()).body(body.into());
        let answer = front.get_response(request).await;
        let status = answer.status();
        let body = answer.into_body().into_bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn post(&self, body: &Value) -> (StatusCode, Value) {
        self.call(Method::POST, &self.platform.routes().predict, body.to_string()).await
    }

    fn asked(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut *self.node.asked.lock().unwrap())
    }
}

#[tokio::test]
async fn sagemaker_and_azure_pass_the_nodes_own_bodies() {
    for platform in [Platform::SageMaker, Platform::AzureMl] {
        let case = Case::new(platform, Verb::Predict);
        let one = json!({"features": {"age": 1.50}, "explanations": {"enabled": true}});
        assert_eq!(case.post(&one).await, (StatusCode::OK, json!({"of": one})));
        let many = json!({"items": [{"features": {"age": 1}}, {"features": {"age": 2}}]});
        let (status, answer) = case.post(&many).await;
        assert_eq!((status, answer["results"][1]["of"]["features"]["age"].as_i64()), (StatusCode::OK, Some(2)));
        assert_eq!(case.asked(), [("predict", one), ("predict-multi", many)]);
    }
    // What the node does not take together is one query, whatever its members are called.
    let case = Case::new(Platform::SageMaker, Verb::Run);
    let own = json!({"items": [1, 2]});
    case.post(&own).await;
    assert_eq!(case.asked(), [("run", own)]);
}

#[tokio::test]
async fn vertex_gets_a_prediction_for_each_instance_in_order() {
    let case = Case::new(Platform::VertexAi, Verb::Predict);
    let body = json!({
        "instances": [{"age": 1}, {"features": {"age": 2}}, {"features": 3}],
        "parameters": {"explanations": {"enabled": true}},
    });
    let (status, answer) = case.post(&body).await;
    let items = json!([{"features": {"age": 1}}, {"features": {"age": 2}}, {"features": {"features": 3}}]);
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        answer,
        json!({"predictions": items.as_array().unwrap().iter().map(|i| json!({"of": i})).collect::<Vec<_>>()})
    );
    assert_eq!(case.asked(), [("predict-multi", json!({"items": items, "explanations": {"enabled": true}}))]);

    let case = Case::new(Platform::VertexAi, Verb::Run);
    let instances: Vec<Value> = (0..30).map(|n| json!({"n": n})).collect();
    let (_, answer) = case.post(&json!({"instances": instances})).await;
    let expected: Vec<Value> = instances.iter().map(|instance| json!({"of": instance})).collect();
    assert_eq!(answer, json!({"predictions": expected}));
    assert!(case.asked().iter().all(|(verb, _)| *verb == "run"));

    let empty = json!({"instances": [], "parameters": null});
    assert_eq!(case.post(&empty).await, (StatusCode::OK, json!({"predictions": []})));
}

#[tokio::test]
async fn snowflake_keeps_rows_and_their_numbers() {
    let mut case = Case::new(Platform::Snowflake, Verb::Lookup);
    case.arguments = &["id", "day"];
    // More than one batch, numbers in no order, a number that no double holds.
    let rows: Vec<Value> = (0..1_201_u64).map(|n| json!([1_201 - n, n, 9_007_199_254_740_993_u64])).collect();
    let (status, answer) = case.post(&json!({"data": rows})).await;
    assert_eq!(status, StatusCode::OK);
    let expected: Vec<Value> = (0..1_201_u64)
        .map(|n| json!([1_201 - n, {"of": {"data": {"id": n, "day": 9_007_199_254_740_993_u64}}}]))
        .collect();
    assert_eq!(answer, json!({"data": expected}));
    let asked = case.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|(verb, _)| *verb == "lookup-multi"));
    let (_, answer) = case.post(&json!({"data": [[0, {"id": "x"}]]})).await;
    assert_eq!(answer, json!({"data": [[0, {"of": {"data": {"id": "x"}}}]]}));
}

#[tokio::test]
async fn each_bad_body_is_refused_by_field() {
    let (vertex, run) = (Case::new(Platform::VertexAi, Verb::Predict), Case::new(Platform::VertexAi, Verb::Run));
    let (raw, snow) = (Case::new(Platform::SageMaker, Verb::Predict), Case::new(Platform::Snowflake, Verb::Predict));
    let many = json!({"instances": vec![json!({}); 10_001]});
    for (case, body, field) in [
        (&vertex, json!({"items": []}), "instances"),
        (&vertex, json!([]), "instances"),
        (&vertex, json!({"instances": [{}, 1]}), "instances[1]"),
        (&vertex, json!({"instances": [{}], "parameters": 1}), "parameters"),
        (&vertex, json!({"instances": [{}], "parameters": {"items": []}}), "parameters.items"),
        (&run, json!({"instances": [{}], "parameters": {"context": {}}}), "parameters.context"),
        (&vertex, many, "instances"),
        (&raw, json!([1]), "body"),
        (&snow, json!({"data": [[]]}), "data[0]"),
        (&snow, json!({"data": [["x", {}]]}), "data[0][0]"),
        (&snow, json!({"data": [[0, {}], [1, 2]]}), "data[1]"),
        (&snow, json!({"data": {}}), "data"),
    ] {
        let (status, answer) = case.post(&body).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{answer}");
        assert_eq!(case.asked(), [], "{field}");
    }
    for body in ["", "{\"items\": [1], \"items\": []}", "{", "{} {}"] {
        assert_eq!(raw.call(Method::POST, "/invocations", body).await.0, StatusCode::BAD_REQUEST, "{body}");
    }
    let large = json!({"features": {"a": "x".repeat(1_000_000)}});
    assert_eq!(raw.post(&large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(raw.call(Method::GET, "/invocations", "").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(raw.call(Method::POST, "/other", "{}").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_nodes_refusals_keep_their_status() {
    let body = json!({"instances": [{"a": 1}]});
    for (status, said, wanted, code) in [
        (400, "{\"error\": \"no such feature\"}", 400, "FRONT_NODE_REFUSED"),
        (503, "", 503, "FRONT_NODE_REFUSED"),
        (302, "", 502, "FRONT_NODE_REFUSED"),
        (200, "<html>", 502, "FRONT_ANSWER_INVALID"),
        (200, "{\"results\": []}", 502, "FRONT_ANSWER_INVALID"),
    ] {
        let mut case = Case::new(Platform::VertexAi, Verb::Predict);
        case.node.instead = Some((status, said));
        let (got, answer) = case.post(&body).await;
        assert_eq!((got.as_u16(), &answer["errors"][0]["code"]), (wanted, &json!(code)), "{answer}");
    }
    for (error, wanted) in [(UpstreamError::Away, 503), (UpstreamError::TimedOut, 504), (UpstreamError::TooLarge, 502)]
    {
        let mut case = Case::new(Platform::SageMaker, Verb::Predict);
        case.node.fails = Some(error);
        assert_eq!(case.post(&json!({})).await.0.as_u16(), wanted);
    }
    // SageMaker's caller reads the node's own words.
    let mut case = Case::new(Platform::SageMaker, Verb::Predict);
    case.node.instead = Some((404, "{\"message\": \"no such endpoint\"}"));
    assert_eq!(case.post(&json!({})).await, (StatusCode::NOT_FOUND, json!({"message": "no such endpoint"})));
}

#[tokio::test]
async fn health_is_the_nodes_and_ends_with_the_drain() {
    let mut case = Case::new(Platform::AzureMl, Verb::Predict);
    assert_eq!(case.call(Method::GET, "/readiness", "").await.0, StatusCode::OK);
    case.open = false;
    assert_eq!(case.call(Method::GET, "/readiness", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    case.open = true;
    case.node.fails = Some(UpstreamError::Away);
    assert_eq!(case.call(Method::GET, "/readiness", "").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(case.call(Method::GET, "/liveness", "").await.0, StatusCode::OK);
}
