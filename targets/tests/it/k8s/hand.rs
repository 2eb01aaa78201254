//! Calls to an API server past the target: what an administrator, or a kubelet, would do.

use std::time::Duration;

use serde_json::{Value, json};

/// The Role of the docs.
pub(crate) fn documented_role() -> Value {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/targets/K8S.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, after) = page.split_once("<!-- role -->\n```yaml\n").unwrap();
    serde_saphyr::from_str(after.split_once("```").unwrap().0).unwrap()
}

/// Whoever has this token.
#[derive(Clone)]
pub(crate) struct Hand {
    client: reqwest::Client,
    url: String,
    token: String,
    /// What its Pods have for an address.
    pub(crate) pod_ip: String,
}

impl Hand {
    pub(crate) fn new(url: &str, authority: Option<&str>, token: &str) -> Self {
        targets::http::install_crypto_provider();
        let mut builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20));
        if let Some(authority) = authority {
            builder = builder.tls_certs_only([reqwest::Certificate::from_pem(authority.as_bytes()).unwrap()]);
        }
        Self {
            client: builder.build().unwrap(),
            url: url.to_owned(),
            token: token.to_owned(),
            pod_ip: "10.1.0.1".to_owned(),
        }
    }

    /// The status and the answer; the body of a PATCH is merged, that of a PUT to a status replaces it.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
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
    pub(crate) async fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let asked = self.client.get(format!("{}/readyz", self.url)).bearer_auth(&self.token).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    /// Makes a namespace in which the Role of the docs is given to `user`.
    pub(crate) async fn namespace(&self, name: &str, user: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.must("POST", "/api/v1/namespaces", Some(&namespace)).await;
        self.grant(name, user, documented_role()).await;
    }

    /// Gives a Role of this namespace to `user`.
    pub(crate) async fn grant(&self, name: &str, user: &str, mut role: Value) {
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
    pub(crate) async fn kubelet(&self, namespace: &str) {
        let pods = self.must("GET", &format!("/api/v1/namespaces/{namespace}/pods"), None).await;
        for pod in pods["items"].as_array().unwrap() {
            let path = format!("/api/v1/namespaces/{namespace}/pods/{}", pod["metadata"]["name"].as_str().unwrap());
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
                self.call("DELETE", &path, Some(&now)).await;
                continue;
            }
            let mut status = pod_status(pod["spec"]["containers"][0]["image"].as_str().unwrap());
            if status["podIP"].is_string() {
                status["podIP"] = self.pod_ip.as_str().into();
            }
            if pod["status"]["phase"] != status["phase"] || pod["status"]["containerStatuses"].is_null() {
                // A Pod of no node is nobody's endpoint.
                let node = json!({"apiVersion": "v1", "kind": "Node", "name": "practice"});
                let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}, "target": node});
                self.call("POST", &format!("{path}/binding"), Some(&binding)).await;
                self.call("PATCH", &format!("{path}/status"), Some(&json!({"status": status}))).await;
            }
        }
    }
}

/// How a Pod with this image fares.
pub(crate) fn pod_status(image: &str) -> Value {
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
