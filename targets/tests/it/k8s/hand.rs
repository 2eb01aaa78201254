//! Calls to an API server past the target: what an administrator, or a kubelet, would do.

use std::time::Duration;

use serde_json::{Value, json};

/// Whoever has this token.
#[derive(Clone)]
pub(super) struct Hand {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Hand {
    pub(super) fn new(url: &str, authority: Option<&str>, token: &str) -> Self {
        targets::http::install_crypto_provider();
        let mut builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20));
        if let Some(authority) = authority {
            builder = builder.tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()]);
        }
        Self { client: builder.build().unwrap(), url: url.to_owned(), token: token.to_owned() }
    }

    /// The status and the answer; the body of a PATCH is merged, that of a PUT to a status replaces it.
    pub(super) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let method: reqwest::Method = method.parse().unwrap();
        let kind = if method == reqwest::Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// A call that must succeed.
    pub(super) async fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub(super) async fn is_ready(&self) -> bool {
        let asked = self.client.get(format!("{}/readyz", self.url)).bearer_auth(&self.token).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// Makes a namespace in which the Role of the docs is given to `user`.
    pub(super) async fn namespace(&self, name: &str, user: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.must("POST", "/api/v1/namespaces", Some(&namespace)).await;
        self.grant(name, user, super::world::documented_role()).await;
    }

    /// Gives a Role of this namespace to `user`.
    pub(super) async fn grant(&self, name: &str, user: &str, mut role: Value) {
        role["metadata"]["namespace"] = json!(name);
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{name}");
        self.must("POST", &format!("{rbac}/roles"), Some(&role)).await;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role["metadata"]["name"]},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        self.must("POST", &format!("{rbac}/rolebindings"), Some(&binding)).await;
    }

    /// What a kubelet would do, once: Pods that are told to end are gone; the others run, or fail as their image's name says.
    pub(super) async fn kubelet(&self, namespace: &str) {
        let pods = self.must("GET", &format!("/api/v1/namespaces/{namespace}/pods"), None).await;
        for pod in pods["items"].as_array().unwrap() {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{}", pod["metadata"]["name"].as_str().unwrap());
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
                self.call("DELETE", &path, Some(&now)).await;
                continue;
            }
            let status = pod_status(pod["spec"]["containers"][0]["image"].as_str().unwrap());
            if pod["status"]["phase"] != status["phase"] || pod["status"]["containerStatuses"].is_null() {
                self.call("PATCH", &format!("{path}/status"), Some(&json!({"status": status}))).await;
            }
        }
    }
}

/// How a Pod with this image fares.
pub(super) fn pod_status(image: &str) -> Value {
    let container = |state: Value, ready: bool| json!([{"name": "service", "image": image, "imageID": "", "restartCount": 0, "ready": ready, "started": ready, "state": state}]);
    if image.contains("unpullable") {
        let waiting =
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: no such tag"}});
        return json!({"phase": "Pending", "hostIP": "127.0.0.1", "containerStatuses": container(waiting, false)});
    }
    let ready = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"});
    let running = json!({"running": {"startedAt": "2024-01-01T00:00:00Z"}});
    json!({
        "phase": "Running", "hostIP": "127.0.0.1", "podIP": "10.1.0.1", "containerStatuses": container(running, true),
        "conditions": [ready("PodScheduled"), ready("Initialized"), ready("ContainersReady"), ready("Ready")],
    })
}
