//! What the client does not send, and other clients do.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{Client, Fleet, Size, client::http};

pub(super) struct Raw<'a>(pub(super) &'a Client);

impl Raw<'_> {
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, String) {
        let mut request = http().request(method, format!("{}{path}", self.0.url())).basic_auth(self.0.key(), Some(""));
        if let Some(body) = body {
            // A text without a content type, as Python's client sends it.
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Status and kind of an error, which is always one object.
    pub(super) async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> (u16, String, String) {
        let (status, text) = self.ask(method, path, body).await;
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
        let text = |name: &str| told[name].as_str().unwrap_or_else(|| panic!("{path}: {told}")).to_owned();
        assert_eq!(text("message"), text("detailedMessage"));
        (status.as_u16(), text("errorType"), text("message"))
    }
}

const BASE: &str = "/dip/publicapi/project-deployer";

#[tokio::test(flavor = "multi_thread")]
async fn addresses_bodies_and_errors() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let raw = Raw(&fleet.client);
    let stages = raw.ask(Method::GET, "/dip/publicapi/project-deployer/stages", None).await;
    assert_eq!(stages.0, StatusCode::OK);
    for path in ["//dip/publicapi/project-deployer/stages/", "/public/api/project-deployer/infras/stages"] {
        assert_eq!(raw.ask(Method::GET, path, None).await, stages, "{path}");
    }
    let (status, _) = raw.ask(Method::GET, &format!("{BASE}/stages?q={}", "x".repeat(60_000)), None).await;
    assert_eq!(status, StatusCode::OK);

    let kind = |answer: (u16, String, String)| (answer.0, answer.1);
    let is = |status: u16, code: &str| (status, code.to_owned());
    let refused = |method, path: &str, body| {
        let path = format!("{BASE}{path}");
        let raw = Raw(&fleet.client);
        async move { raw.refused(method, &path, body).await }
    };
    assert_eq!(kind(refused(Method::GET, "/nothing", None).await), is(404, "NOT_FOUND"));
    assert_eq!(kind(refused(Method::PUT, "/stages", None).await), is(405, "METHOD_NOT_ALLOWED"));
    assert_eq!(kind(refused(Method::PATCH, "/stages", None).await), is(405, "METHOD_NOT_ALLOWED"));
    assert_eq!(kind(refused(Method::GET, "/infras/none", None).await), is(404, "NOT_FOUND"));
    assert_eq!(kind(refused(Method::POST, "/infras", None).await), is(400, "BAD_REQUEST"));
    assert_eq!(kind(refused(Method::POST, "/infras", Some(json!([]))).await), is(400, "BAD_REQUEST"));
    assert_eq!(kind(refused(Method::POST, "/projects/bundles", None).await), is(400, "BAD_REQUEST"));
    let (status, code, message) = refused(Method::POST, "/infras", Some(json!({"id": 5, "stage": "Test"}))).await;
    assert_eq!((status, code.as_str()), (400, "FIELD_INVALID"));
    assert!(message.starts_with("id:"), "{message}");
    for id in ["stages", "infras", "bundles"] {
        let body = json!({"id": id, "stage": "Test"});
        assert_eq!(kind(refused(Method::POST, "/infras", Some(body)).await), is(409, "ID_NOT_AVAILABLE"), "{id}");
    }
    let wrong = refused(Method::POST, "/deployments?ignoreWarnings=maybe", Some(json!({}))).await;
    assert_eq!(kind(wrong), is(400, "FIELD_INVALID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_answers_like_what_is_absent() {
    let fleet = Fleet::of(Size::Embedded).start().await;
    let outsider = fleet.user("outsider", &[]);
    let admin = Raw(&fleet.client);
    let made = admin.ask(Method::POST, &format!("{BASE}/infras"), Some(json!({"id": "there", "stage": "Test"}))).await;
    assert_eq!(made.0, StatusCode::OK, "{}", made.1);
    let made =
        admin.ask(Method::POST, &format!("{BASE}/projects"), Some(json!({"publishedProjectKey": "there"}))).await;
    assert_eq!(made.0, StatusCode::OK, "{}", made.1);
    let raw = Raw(&outsider);
    for (method, path) in [
        (Method::GET, "/infras/ID"),
        (Method::GET, "/infras/ID/settings"),
        (Method::PUT, "/infras/ID/settings"),
        (Method::DELETE, "/infras/ID"),
        (Method::GET, "/projects/ID"),
        (Method::GET, "/projects/ID/settings"),
        (Method::PUT, "/projects/ID/settings"),
        (Method::DELETE, "/projects/ID"),
        (Method::GET, "/projects/ID/bundles/v1"),
        (Method::DELETE, "/projects/ID/bundles/v1"),
        (Method::GET, "/projects/ID/bundles/v1/project-standards-report"),
    ] {
        let body = || Some(json!({"id": "x", "permissions": 5}));
        let there = raw.ask(method.clone(), &format!("{BASE}{}", path.replace("ID", "there")), body()).await;
        let absent = raw.ask(method.clone(), &format!("{BASE}{}", path.replace("ID", "absent")), body()).await;
        assert_eq!(there, absent, "{method} {path}");
        assert_eq!(there.0, StatusCode::NOT_FOUND, "{method} {path}: {}", there.1);
    }
    let listed = raw.ask(Method::GET, &format!("{BASE}/infras"), None).await;
    assert_eq!(listed.1, "[]");
}
