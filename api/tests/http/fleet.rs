//! What the edge does for nodes that register themselves, whatever lies behind it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::toy::{KEY, Server, TOKEN, start, start_with};

const PATH: &str = "/fleet/nodes";

async fn ask(server: &Server, method: Method, token: Option<&str>, body: String) -> (u16, Value) {
    let mut request = server.http.request(method, server.url(PATH)).body(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json; charset=utf-8");
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn each_method_arrives_with_its_body_whatever_its_type() {
    let server = start().await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let told = ask(&server, method.clone(), Some(TOKEN), "12345".to_owned()).await;
        assert_eq!(told, (200, json!({"method": method.as_str(), "bytes": 5})));
    }
}

#[tokio::test]
async fn whoever_has_no_token_gets_one_answer_and_the_object_of_the_rest() {
    let server = start().await;
    let expected = json!([{"code": "ENROLMENT_TOKEN_INVALID", "message": "None."}]);
    for token in [None, Some("nope"), Some(KEY)] {
        // Not even a body that is too large is looked at before.
        let (status, told) = ask(&server, Method::POST, token, "x".repeat(1_000)).await;
        assert_eq!((status, &told["errorType"], &told["errors"]), (401, &expected[0]["code"], &expected), "{told}");
    }
    let large = ask(&server, Method::POST, Some(TOKEN), "x".repeat((256 << 10) + 1)).await;
    assert_eq!((large.0, &large.1["errorType"]), (413, &json!("BODY_TOO_LARGE")));
    let most = ask(&server, Method::POST, Some(TOKEN), "x".repeat(256 << 10)).await;
    assert_eq!(most.0, 200);
    let page = server.http.post(server.url(PATH)).header("origin", "https://elsewhere.example.org");
    assert_eq!(page.bearer_auth(TOKEN).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn wrong_tokens_are_as_dear_as_wrong_keys() {
    let settings = api::Settings { requests_per_second: 1, burst: 3, ..api::Settings::default() };
    let server = start_with(settings).await;
    let mut seen = Vec::new();
    for n in 0..4 {
        seen.push(ask(&server, Method::POST, Some(&format!("wrong-{n}")), String::new()).await.0);
    }
    assert_eq!(seen, [401, 401, 401, 429]);
    let settings = api::Settings { key_requests_per_second: 1, key_burst: 1, ..api::Settings::default() };
    let server = start_with(settings).await;
    assert_eq!(ask(&server, Method::POST, Some("wrong"), String::new()).await.0, 401);
    let (status, told) = ask(&server, Method::POST, Some("wrong"), String::new()).await;
    assert_eq!((status, told["errorType"].as_str().unwrap()), (429, "RATE_LIMITED"));
}
