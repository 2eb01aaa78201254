//! The hooks of `docs/hooks`, as they stand there but for the names at their heads: with the real Dataiku client on the node and on Slipway itself.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use engine::secrets::ApiKey;
use reqwest::StatusCode;
use sandbox::{BundleSpec, Fault, FaultKind};
use serde_json::{Value, json};
use tests::{Fleet, Size, client::Client, models::Models, practice, requests::step, until_true};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{ci::held_until, hook_test::python_with_client};

/// Systems of other people that hooks talk to.
#[derive(Clone)]
struct Others {
    url: String,
    /// What they were told: path, idempotency key, body.
    told: Arc<Mutex<Vec<(String, String, Value)>>>,
}

impl Others {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let others = Self { url: format!("http://{}", listener.local_addr().unwrap()), told: Arc::default() };
        let told = Arc::clone(&others.told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&told)));
            }
        });
        others
    }

    fn told(&self, path: &str) -> Vec<(String, Value)> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(at, ..)| at == path).map(|(_, key, body)| (key.clone(), body.clone())).collect()
    }
}

async fn answer(stream: TcpStream, told: Arc<Mutex<Vec<(String, String, Value)>>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).await.unwrap() > 0);
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let headers: BTreeMap<String, String> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    told.lock().unwrap().push((path, headers["idempotency-key"].clone(), body));
    let said = r#"{"id": "CHG-1"}"#;
    let answer = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}", said.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// A hook of the documentation, with other names at its head.
fn hook(name: &str, names: &[(&str, &str)]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hooks").join(format!("{name}.py"));
    let mut code = std::fs::read_to_string(path).unwrap();
    for (old, new) in names {
        assert!(code.contains(old), "{name}: {old}");
        code = code.replace(old, new);
    }
    json!({ "name": name, "code": code })
}

/// Writes down the key that `deployer_client` has.
fn leak(path: &str) -> Value {
    let code = format!(
        "def execute(deployer_client, **kwargs):\n    with open({path:?}, 'w') as file:\n        file.write(deployer_client.api_key)\n    \
         print('the key is', deployer_client.api_key)\n    return HookResult.success('')\n"
    );
    json!({ "name": "leak", "code": code })
}

/// Whom a key is of, over the wire of Dataiku's client.
async fn who(api: &Client, key: &str) -> (StatusCode, Value) {
    let basic = BASE64_STANDARD.encode(format!("{key}:"));
    let url = format!("{}/dip/publicapi/auth/info", api.url());
    let answer = tests::client::http().get(url).header("Authorization", format!("Basic {basic}")).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

async fn hooks_with_clients(size: Size) {
    let mut fleet = Fleet::of(size).workers(0).set("SLIPWAY_WORKER_HOOKS_PYTHON", python_with_client()).start().await;
    if size == Size::Fleet {
        let url = fleet.client.url().to_owned();
        fleet.set("SLIPWAY_WORKER_HOOKS_DEPLOYER_URL", url);
        fleet.start_worker().await;
    }
    let others = Others::start().await;
    let node = practice::listen(practice::builder().group("operations")).await;
    let api = &fleet.client;
    api.ask("mutation { createGroup(name: \"hooks\") { refusals { code message } } }", json!({})).await;
    fleet.user("hooks", &["hooks"]);
    let leaked = fleet.scratch().at("leaked");

    api.infrastructure("test", &node, json!({})).await;
    api.infrastructure("prod", &node, json!({ "hooksUser": "hooks" })).await;
    for bundle in ["v1", "v2"] {
        api.bundle(&BundleSpec::new("CHURN", bundle)).await;
    }
    // It sees, and changes nothing.
    for id in ["test", "prod"] {
        let seen = api.graphql("query ($id: ID!) { infrastructure(id: $id) { version } }", json!({ "id": id })).await;
        let document = "mutation ($id: ID!, $version: Long!) {
          setInfrastructurePermissions(id: $id, expectedVersion: $version, permissions: [{ group: \"hooks\", level: VIEW }]) { refusals { code message } } }";
        api.ask(document, json!({ "id": id, "version": seen["infrastructure"]["version"] })).await;
    }
    let seen = api.graphql("{ publishedProject(key: \"CHURN\") { version } }", json!({})).await;
    let document = "mutation ($version: Long!) {
      updatePublishedProject(input: { key: \"CHURN\", expectedVersion: $version, permissions: [{ group: \"hooks\", read: true, write: false, deploy: false, admin: false }] }) { refusals { code message } } }";
    api.ask(document, json!({ "version": seen["publishedProject"]["version"] })).await;
    let pre = json!([
        hook("check_other_environment", &[]),
        hook("open_ticket", &[("https://tickets.example.org", &others.url)]),
        leak(&leaked)
    ]);
    api.set_hooks("prod", "PRE", pre).await;
    let post = json!([
        hook("run_scenario", &[]),
        hook("set_group_admin", &[]),
        hook("post_message", &[("https://chat.example.org", &others.url)])
    ]);
    api.set_hooks("prod", "POST", post).await;
    api.deployment("churn-test", "test", ("CHURN", "v1"), "CHURN_TEST", json!({})).await;
    api.deployment("churn-prod", "prod", ("CHURN", "v1"), "CHURN", json!({})).await;

    // It was not deployed to the other environment yet.
    let refused = api.run("churn-prod", "FAILED").await;
    assert_eq!(refused["failure"]["code"], "HOOK_ERROR", "{refused:#}");
    assert!(refused["failure"]["message"].as_str().unwrap().contains("churn-test is"), "{refused:#}");
    assert_eq!(others.told("/api/tickets"), []);

    api.run("churn-test", "SUCCEEDED").await;
    let update = api.start("churn-prod").await;
    let done = api.over(&update).await;
    let said = api.lines(&update).await;
    assert_eq!(done["status"], "SUCCEEDED", "{done:#}\n{said:#?}");
    let tickets = others.told("/api/tickets");
    assert_eq!(tickets.len(), 1);
    assert!(!tickets[0].0.is_empty());
    assert_eq!(
        tickets[0].1,
        json!({ "title": "Deployment of CHURN v1", "requester": "admin", "infrastructure": "prod" })
    );
    let messages = others.told("/hooks/deployments");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].1["text"], "SUCCESS: admin deployed v1 to prod, where v1 is live now.");
    let calls = node.calls();
    assert!(calls.iter().any(|call| call.method == "POST" && call.path.ends_with("/CHURN/scenarios/DAILY/run")));
    assert!(calls.iter().any(|call| call.method == "PUT" && call.path.ends_with("/CHURN/permissions")));

    // The key was the hooks user's, was masked wherever it was printed, and died with the update.
    let key = std::fs::read_to_string(&leaked).unwrap();
    assert!(ApiKey::parse(&key).is_some(), "{key}");
    let (status, _) = who(api, &key).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let printed = said.iter().find(|line| line["line"].as_str().is_some_and(|line| line.starts_with("the key is")));
    assert!(printed.is_some_and(|line| !line["line"].as_str().unwrap().contains(&key)), "{said:#?}");

    // Another bundle has to go the same way.
    api.change_deployment("churn-prod", json!({ "bundleId": "v2" })).await;
    let refused = api.run("churn-prod", "FAILED").await;
    assert_eq!(
        refused["failure"]["message"].as_str().map(|text| text.contains("churn-test has v1, not v2")),
        Some(true),
        "{refused:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_hooks_of_the_documentation_run_in_a_fleet() {
    hooks_with_clients(Size::Fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_hooks_of_the_documentation_run_in_one_process() {
    hooks_with_clients(Size::Embedded).await;
}

/// A post-hook meets what the update has just put there: in the first update of all, and with the queries of the new version, not of the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_post_hook_puts_the_test_queries_of_what_was_just_deployed() {
    let models = Models::start().await;
    let fleet = models.fleet(Size::Embedded).set("SLIPWAY_WORKER_HOOKS_PYTHON", python_with_client()).start().await;
    let api = &fleet.client;
    api.ask("mutation { createGroup(name: \"askers\") { refusals { code message } } }", json!({})).await;
    fleet.user("hooks", &["askers"]);
    models.infrastructure(api, &[], json!({"hooksUser": "hooks"})).await;
    let refusals = "refusals { code field message }";
    api.ask(&format!("mutation {{ createPublishedService(id: \"fraud\") {{ {refusals} }} }}"), json!({})).await;
    api.upload_version(Models::version("fraud", "v1", &json!({"features": {"a": 2}}))).await;
    api.upload_version(Models::version("fraud", "v2", &json!({"features": "none"}))).await;
    let deploy = format!(
        "mutation($input: CreateServiceDeploymentInput!) {{ createServiceDeployment(input: $input) {{ {refusals} }} }}"
    );
    let deployment = json!({"input": {
        "id": "fraud-test", "serviceId": "fraud", "infrastructureId": "nodes", "version": "v1", "settings": {"service": {"queryGroups": ["askers"]}},
    }});
    api.ask(&deploy, deployment).await;
    api.set_hooks("nodes", "POST", json!([hook("run_test_queries", &[])])).await;
    // Who may query must see it, too.
    let document = "mutation ($version: Long!) {
      setInfrastructurePermissions(id: \"nodes\", expectedVersion: $version, permissions: [{ group: \"askers\", level: VIEW }]) { refusals { code message } } }";
    let seen = api.ask("{ infrastructure(id: \"nodes\") { version } }", json!({})).await;
    api.ask(document, json!({ "version": seen["version"] })).await;
    let document = "mutation ($version: Long!) {
      updatePublishedService(input: { id: \"fraud\", expectedVersion: $version, permissions: [{ group: \"askers\", read: true, write: false, deploy: false, admin: false }] }) { refusals { code message } } }";
    let seen = api.ask("{ publishedService(id: \"fraud\") { version } }", json!({})).await;
    api.ask(document, json!({ "version": seen["version"] })).await;

    let update = api.start("fraud-test").await;
    let done = api.over(&update).await;
    assert_eq!(done["status"], "SUCCEEDED", "{done:#}\n{:#?}", api.lines(&update).await);
    api.change_deployment("fraud-test", json!({"bundleId": "v2"})).await;
    let warned = api.run("fraud-test", "WARNING").await;
    let post = step(&warned, "post_hooks/1");
    assert!(post.to_string().contains("1 of 1 test queries failed"), "{warned:#}");
}

/// Queries through the deployer reach what is there: from the look at it on, also where a node was left out, and after an update that ended badly when all was there already.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queries_reach_what_is_there_however_its_update_ends() {
    let models = Models::start().await;
    let fleet = models.fleet(Size::Embedded).start().await;
    let api = &fleet.client;
    let other = models.another_node().await;
    let away = format!("http://127.0.0.1:{}", tests::guard::free_port());
    let once = |kind: &str| json!({"kind": kind, "retry": {"maxAttempts": 1, "initialMs": 0, "capMs": 0}});
    let settings = json!({"onFailure": "GO_ON", "stepPolicies": [once("validate_remap"), once("push_bundle")]});
    models.infrastructure(api, &[&other.url(), &away], settings).await;
    let go_on = fleet.scratch().at("go-on");
    api.set_hooks("nodes", "POST", json!([{"name": "held", "code": held_until(&go_on)}])).await;
    let refusals = "refusals { code field message }";
    api.ask(&format!("mutation {{ createPublishedService(id: \"fraud\") {{ {refusals} }} }}"), json!({})).await;
    for version in ["v1", "v2"] {
        api.upload_version(Models::version("fraud", version, &json!({"features": {"of": version}}))).await;
    }
    let deploy = format!(
        "mutation($input: CreateServiceDeploymentInput!) {{ createServiceDeployment(input: $input) {{ {refusals} }} }}"
    );
    let deployment = json!({"id": "fraud-test", "serviceId": "fraud", "infrastructureId": "nodes", "version": "v1"});
    api.ask(&deploy, json!({"input": deployment})).await;
    // What the version's own test query asks, and which version answers.
    let asked = || async {
        let document =
            "{ testService(deploymentId: \"fraud-test\") { queries answers { status body } refusals { code } } }";
        let told = api.ask(document, json!({})).await;
        let answer = &told["answers"][0]["body"]["result"]["generation"];
        (told["queries"][0]["features"]["of"].clone(), answer.clone())
    };
    let held = |update: String| async move {
        until_true("the hook", tests::PATIENCE, || async {
            api.lines(&update).await.iter().any(|line| line["line"] == "the hook has begun")
        })
        .await;
        update
    };
    let first = held(api.start("fraud-test").await).await;
    assert_eq!(asked().await, (json!("v1"), json!("v1")));
    api.end("cancelUpdate", &first).await;
    assert_eq!(api.over(&first).await["status"], "CANCELLED");
    assert_eq!(asked().await, (json!("v1"), json!("v1")));

    // The node that is asked first is left out, and goes on with the version before.
    api.change_deployment("fraud-test", json!({"bundleId": "v2"})).await;
    let refuse = FaultKind::Status { status: 400, error_type: None, message: None, retry_after: None };
    let fault = Fault { method: None, path: "**".to_owned(), nth: 1, count: Some(1), kind: refuse };
    models.node.arm(fault).unwrap();
    let second = held(api.start("fraud-test").await).await;
    assert_eq!(asked().await, (json!("v2"), json!("v2")));
    std::fs::write(&go_on, "").unwrap();
    assert_eq!(api.over(&second).await["status"], "WARNING");
    assert_eq!(asked().await, (json!("v2"), json!("v2")));
}
