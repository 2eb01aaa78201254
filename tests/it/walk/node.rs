//! The node, as somebody sees it who never heard of us: plain calls of its API, and what it should show in the end.

use std::time::Duration;

use reqwest::multipart::{Form, Part};
use sandbox::{BundleSpec, RunningNode, sample_bundle};
use serde_json::{Value, json};
use tests::{Client, client, practice};

/// One call with the administrator's key, for `user` if that is said.
pub(crate) async fn call(method: &str, url: &str, user: Option<&str>, body: Value) -> Value {
    let mut request = client::http().request(method.parse().unwrap(), url).basic_auth(practice::NODE_KEY, Some(""));
    if let Some(user) = user {
        request = request.header("X-DKU-ProxyUser", user);
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{method} {url}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// How often the node was called with this in the path.
pub(crate) fn calls_of(node: &RunningNode, part: &str) -> usize {
    node.calls().iter().filter(|call| call.path.contains(part)).count()
}

/// What a node holds when this bundle was imported, preloaded and activated by hand as `deployer`, with every scenario off: without any of our
/// policies. Then what policy demands, and what `more` says.
pub(crate) async fn expected(spec: &BundleSpec, more: impl FnOnce(&mut Value)) -> Value {
    let mut builder = practice::builder().user("analyst", &[], false);
    for connection in &spec.connections {
        builder = builder.connection(&connection.name, &connection.kind);
    }
    let node = practice::listen(builder).await;
    let api = format!("{}/public/api", node.url());
    let part = Part::bytes(sample_bundle(spec)).file_name("bundle.zip");
    let imported = client::http()
        .post(format!(
            "{api}/projectsFromBundle/?permissionsPropagationPolicy=READ_ONLY&failOnMissingUsersOrGroups=False"
        ))
        .basic_auth(practice::NODE_KEY, Some(""))
        .header("X-DKU-ProxyUser", "deployer")
        .multipart(Form::new().part("file", part));
    let imported = imported.timeout(Duration::from_secs(30)).send().await.unwrap();
    assert!(imported.status().is_success(), "{}", imported.text().await.unwrap());
    let bundle = format!("{api}/projects/{}/bundles/imported/{}", spec.project_key, spec.bundle_id);
    call("POST", &format!("{bundle}/actions/preload"), Some("deployer"), Value::Null).await;
    let off: Value = spec.scenarios.iter().map(|scenario| (scenario.id.clone(), json!(false))).collect();
    let off = json!({"scenariosActiveOnActivation": off});
    call("POST", &format!("{bundle}/actions/activate"), Some("deployer"), off).await;
    let mut project = node.snapshot()["projects"][&spec.project_key].take();

    let container = json!({"remapping": {"connections": [
        {"source": "sql-dev", "target": "sql-prod"}, {"source": "files-dev", "target": "files-prod"},
    ]}});
    project["settings"]["bundleContainerSettings"] = container;
    // Nobody else than the run-as user, and only an administrator sets that.
    for list in ["scenarios", "webapps"] {
        for one in project[list].as_object_mut().unwrap().values_mut() {
            one["definition"]["runAsUser"] = json!("runner");
            one["definition"]["versionTag"]["lastModifiedBy"]["login"] = json!("api:admin-1");
            one["runAs"] = json!("runner");
        }
    }
    for one in project["webapps"].as_object_mut().unwrap().values_mut() {
        one["backend"] = json!({"alive": true, "runAs": "runner"});
    }
    more(&mut project);
    project
}

/// All that a subscription by server-sent events answers, as it comes.
pub(crate) async fn stream(client: &Client, document: &str) -> String {
    let request = tests::client::http().post(format!("{}/graphql", client.url())).bearer_auth(client.key());
    let request = request.header("accept", "text/event-stream").json(&json!({"query": document}));
    request.send().await.unwrap().text().await.unwrap()
}
