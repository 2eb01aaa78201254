//! `slipway sandbox --api-node`: a process of its own, driven by the real clients of API nodes.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use sandbox::{Outside, ServiceSpec, sample_service};
use serde_json::{Value, json};
use tests::{
    PATIENCE, client,
    guard::{Guarded, Program},
    kin::Certificates,
    scratch::Scratch,
    slipway, until,
};

use crate::{
    api::commands::{run, said},
    ci::tls,
    hook_test::python_with_client,
};

const KEY: &str = "a-key-of-our-own";

/// A service version as a file.
fn version(scratch: &Scratch, spec: &ServiceSpec) -> String {
    let path = scratch.at(&format!("{}-{}.zip", spec.service_id, spec.generation));
    fs::write(&path, sample_service(spec)).unwrap();
    path
}

/// Starts a node, and returns it with its address.
async fn node(scratch: &Scratch, arguments: &[&str], variables: &[(&str, &str)]) -> (Guarded, String) {
    let binary = slipway::binary().display().to_string();
    let command = [&[binary.as_str(), "sandbox", "--api-node", "--listen", "127.0.0.1:0"], arguments].concat();
    let node = Program::new(command, &scratch.path().join("node.log")).with([("SLIPWAY_PRACTICE_ADMIN_KEY", KEY)]);
    let node = node.with(variables.iter().copied()).start();
    let url = until("the node's address", PATIENCE, || async {
        assert_eq!(node.exit_code(), None, "{}", node.log());
        let log = node.log();
        let url = log.split([' ', ';']).find(|word| word.starts_with("http://"))?;
        log.contains('\n').then(|| url.to_owned())
    })
    .await;
    (node, url)
}

/// What a control tells.
async fn control(url: &str, call: &str) -> Value {
    let request = client::http().get(format!("{url}/sandbox/{call}")).basic_auth(KEY, Some(""));
    request.send().await.unwrap().json().await.unwrap()
}

/// A prediction of a service.
async fn query(url: &str, service: &str) -> Value {
    let request = client::http().post(format!("{url}/public/api/v1/{service}/score/predict"));
    let body = json!({"features": {"a": 2}}).to_string();
    request.body(body).send().await.unwrap().json().await.unwrap()
}

/// Runs a script of this folder under the real client. It asserts for itself.
async fn script(told: Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/api_node/client.py");
    let mut command = Command::new(python_with_client());
    command.arg(path).arg(told.to_string()).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_clients_drive_every_call() {
    let scratch = Scratch::new("api-node");
    let packages = scratch.path().join("packages");
    fs::create_dir_all(packages.join("py_env")).unwrap();
    fs::write(packages.join("model.zip"), "a model").unwrap();
    let kinds = [
        ("clusters", "STD_CLUSTERING"),
        ("next", "STD_FORECAST"),
        ("effect", "STD_CAUSAL_PREDICTION"),
        ("find", "DATASETS_LOOKUP"),
        ("sql", "SQL_QUERY"),
        ("f", "PY_FUNCTION"),
    ];
    for generation in ["v1", "v2"] {
        let spec = kinds.iter().fold(ServiceSpec::new("fraud", generation), |spec, (id, kind)| spec.endpoint(id, kind));
        fs::write(packages.join(format!("{generation}.zip")), sample_service(&spec)).unwrap();
    }
    let closed = ServiceSpec::new("closed", "v1").keys(&["query-key"]);
    fs::write(packages.join("closed.zip"), sample_service(&closed)).unwrap();
    let folder = packages.display().to_string();
    let (node, url) = node(&scratch, &["--packages", &folder], &[]).await;
    script(json!({"url": url, "key": KEY, "packages": folder})).await;
    assert!(!node.log().contains(KEY), "{}", node.log());
    node.signal(Signal::TERM);
    assert_eq!(node.exited(PATIENCE).await, 0, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_served_from_the_start() {
    let scratch = Scratch::new("api-node");
    let first = format!("{}:0.25", version(&scratch, &ServiceSpec::new("fraud", "v1")));
    let second = format!("{}:0.75", version(&scratch, &ServiceSpec::new("fraud", "v2")));
    let other = version(&scratch, &ServiceSpec::new("churn", "v7"));
    let serve = ["--serve-package", &first, "--serve-package", &second, "--serve-package", &other];
    let (node, url) = node(&scratch, &serve, &[]).await;
    let state = control(&url, "state").await;
    let mapping = json!([{"generation": "v1", "proba": 0.25}, {"generation": "v2", "proba": 0.75}]);
    assert_eq!(
        (&state["services"]["fraud"]["mapping"], &state["services"]["churn"]["enabled"]),
        (&mapping, &json!(true))
    );
    let answer = query(&url, "churn").await;
    assert_eq!(answer["result"], json!({"prediction": 2.0, "ignored": false, "generation": "v7"}));
    node.signal(Signal::TERM);
    assert_eq!(node.exited(PATIENCE).await, 0, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_over_tls_to_who_is_trusted() {
    let scratch = Scratch::new("api-node");
    let (ours, others) = (Certificates::new(), Certificates::new());
    let receiver = Outside::open("Bearer event-key").await.unwrap();
    let port = receiver.url().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
    let events = tls::before(port, &ours).await;
    let auditing = json!({"targets": [{"type": "EVENT_SERVER", "url": events, "authKey": "event-key"}]});
    let package = version(&scratch, &ServiceSpec::new("fraud", "v1").with("auditing", auditing));
    for (trusted, wanted) in [(&ours, json!([1, 0])), (&others, json!([0, 1]))] {
        let variables = [("SSL_CERT_FILE", trusted.at("ca.pem"))];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        // Each has a log of its own, which tells where it listens.
        let place = Scratch::new("api-node");
        let (node, url) = node(&place, &["--serve-package", &package], &variables).await;
        query(&url, "fraud").await;
        let delivery = until("a delivery", PATIENCE, || async {
            let delivery = control(&url, "events").await["delivery"].clone();
            (delivery["sent"] != 0 || delivery["failed"] != 0).then_some(delivery)
        })
        .await;
        assert_eq!(json!([delivery["sent"], delivery["failed"]]), wanted, "{}", node.log());
    }
    let [heard] = &receiver.take()[..] else { panic!("one call") };
    assert!(heard.method == "POST" && heard.url.ends_with("/events") && heard.mentions, "{heard:?}");
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let scratch = Scratch::new("api-node");
    let half = format!("{}:0.5", version(&scratch, &ServiceSpec::new("fraud", "v1")));
    let text = scratch.at("text.zip");
    fs::write(&text, "no archive").unwrap();
    let away = scratch.at("nowhere.zip");
    for (arguments, parts, code) in [
        (["--api-node", "--serve-package", half.as_str()], ["SERVICE_NOT_SERVED", "sum to 0.5"], 1),
        (["--api-node", "--serve-package", text.as_str()], ["SERVICE_NOT_SERVED", "no readable zip archive"], 1),
        (["--api-node", "--serve-package", away.as_str()], ["SERVICE_NOT_SERVED", "nowhere.zip"], 1),
        (["--api-node", "--packages", away.as_str()], ["IO_FAILED", "nowhere.zip"], 1),
        (["--api-node", "--serve-package", "v1.zip:7"], ["--serve-package", "from 0 to 1"], 2),
        (["--listen", "127.0.0.1:0", "--serve-package=v1.zip"], ["--api-node", "required"], 2),
    ] {
        let output = run(&scratch, &[&["sandbox"], &arguments[..]].concat(), &[]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(parts.iter().all(|part| told.contains(part)), "{arguments:?}: {parts:?}: {told}");
    }
}
