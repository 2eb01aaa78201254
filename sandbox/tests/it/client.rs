//! A plain client of the node's API, and the node that the tests share in shape.

use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, StatusCode};
use sandbox::{Builder, Node, RunningNode};
use serde_json::Value;

pub(crate) const ADMIN: &str = "admin-secret";

pub(crate) fn builder() -> Builder {
    Node::builder()
        .user("root", &[], true)
        .user("deployer", &["deployers"], false)
        .user("svc", &[], false)
        .user("analyst", &[], false)
        .group("data-team")
        .connection("sql-prod", "PostgreSQL")
        .connection("files-prod", "Filesystem")
        .connection("lake", "EC2")
        .admin_key(ADMIN)
        .user_key("deployer-secret", "deployer")
}

pub(crate) async fn start(builder: Builder) -> RunningNode {
    builder.start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// reqwest wants a TLS provider even where there is no TLS. A second installation is refused, which is as good.
pub(crate) fn http() -> reqwest::Client {
    let _already = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: String,
    proxy_user: Option<String>,
}

impl Client {
    pub(crate) fn new(node: &RunningNode) -> Self {
        Self { http: http(), base: format!("{}/dip/publicapi", node.url()), key: ADMIN.to_owned(), proxy_user: None }
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub(crate) fn acting(&self, login: &str) -> Self {
        Self { proxy_user: Some(login.to_owned()), ..self.clone() }
    }

    pub(crate) fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base)).basic_auth(&self.key, Some(""));
        if let Some(login) = &self.proxy_user {
            request = request.header("X-DKU-ProxyUser", login);
        }
        request
    }

    /// JSON goes without a content type, as the clients of this API send it.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        read(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {value}");
        value
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) {
        let (status, value) = self.send(Method::PUT, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "PUT {path}: {value}");
    }

    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Value {
        let (status, value) = self.send(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::OK, "POST {path}: {value}");
        value
    }

    pub(crate) async fn upload(&self, path: &str, bytes: Vec<u8>) -> (StatusCode, Value) {
        let form = Form::new().part("file", Part::bytes(bytes).file_name("bundle.zip"));
        read(self.request(Method::POST, path).multipart(form)).await
    }
}

async fn read(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
