//! A plain client of both APIs, a node with a folder to import from, and what tests do again and again.

use crate::client::http;
use reqwest::{Method, RequestBuilder, StatusCode};
use sandbox::{ApiNode, ApiNodeBuilder, RunningApiNode, ServiceSpec, sample_service};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(super) const ADMIN: &str = "admin-secret";

/// A node, the folder that it imports from, and a client.
pub(super) struct Scene {
    pub(super) node: RunningApiNode,
    pub(super) folder: TempDir,
    pub(super) client: Client,
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) url: String,
    pub(super) key: Option<String>,
}

pub(super) fn builder() -> ApiNodeBuilder {
    ApiNode::builder().admin_key(ADMIN)
}

pub(super) async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let node = builder().packages(folder.path()).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let client = Client { http: http(), url: node.url(), key: Some(ADMIN.to_owned()) };
    Scene { node, folder, client }
}

impl Scene {
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Imports a version into a service that is made if it is not there.
    pub(super) async fn import(&self, spec: &ServiceSpec) {
        let service = &spec.service_id;
        if !self.client.get("/admin/api/services").await.to_string().contains(&format!("\"{service}\"")) {
            self.client.post("/admin/api/services/", Some(&json!({"serviceId": service}))).await;
        }
        let path = self.write(&format!("{service}-{}.zip", spec.generation), &sample_service(spec));
        let (status, error) = self.client.import(service, &path).await;
        assert_eq!(status, StatusCode::OK, "{error}");
    }

    /// Imports versions and lets the last one answer.
    pub(super) async fn serve(&self, specs: &[ServiceSpec]) {
        for spec in specs {
            self.import(spec).await;
        }
        let service = &specs.last().unwrap().service_id;
        self.client.post(&format!("/admin/api/services/{service}/actions/switchToNewest"), None).await;
    }
}

impl Client {
    pub(super) fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.basic_auth(key, Some("")),
            None => request,
        }
    }

    /// JSON goes without a content type, as the clients of this API send it.
    pub(super) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        read(request).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.send(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {value}");
        value
    }

    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> Value {
        let (status, value) = self.send(Method::POST, path, body).await;
        assert_eq!(status, StatusCode::OK, "POST {path}: {value}");
        value
    }

    pub(super) async fn import(&self, service: &str, path: &Path) -> (StatusCode, Value) {
        let path = [("filePath", path.to_str().unwrap())];
        let call = format!("/admin/api/services/{service}/generations/actions/importFromArchive");
        read(self.request(Method::POST, &call).query(&path)).await
    }

    pub(super) async fn query(&self, call: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, &format!("/public/api/v1/{call}"), Some(body)).await
    }
}

pub(super) async fn read(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
