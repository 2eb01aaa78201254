//! `slipway image build` makes an image with a front; the front of the unpacked image starts its node and speaks the platform's contract.

use std::{collections::BTreeSet, fs, process::Command};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sandbox::{Outside, ServiceSpec, sample_service};
use serde_json::{Value, json};
use tests::{
    PATIENCE,
    guard::{Guarded, Program, free_port},
    registry::{PASSWORD, Registry, USER, run},
    scratch::Scratch,
    slipway, until_true,
};

use super::{Unpacked, base_image};

/// A version of the service `churn`.
fn version() -> Vec<u8> {
    let endpoints = json!([{"id": "predict", "type": "STD_PREDICTION"}]);
    sample_service(&ServiceSpec::new("churn", "v1").with("endpoints", endpoints))
}

fn build(registry: &Registry, scratch: &Scratch, more: &[&str]) -> Value {
    let logins = scratch.at("config.json");
    let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    fs::write(&logins, json!({"auths": {registry.host(): {"auth": auth}}}).to_string()).unwrap();
    let package = scratch.at("v1.zip");
    fs::write(&package, version()).unwrap();
    let host = registry.host();
    let (base, to) = (format!("{host}/base:1"), format!("{host}/team/churn"));
    let mut command = Command::new(slipway::binary());
    command.args(["image", "build", "--plain-http", "--json", "--base", &base, "--to", &to, "--service", &package]);
    command.args(["--service-id", "churn", "--docker-config", &logins]).args(more);
    let said = run(&mut command);
    serde_json::from_str(said.trim()).unwrap()
}

/// The entrypoint of an unpacked image, started where it lies.
fn start(unpacked: &Unpacked, scratch: &Scratch, port: u16, node: u16, asked: u16, more: &[&str]) -> Guarded {
    let inside = |word: String| if word.starts_with("/opt/") { format!("{}{word}", unpacked.root) } else { word };
    let mut words: Vec<String> = unpacked.words("args").into_iter().map(inside).collect();
    let at = words.iter().position(|word| word == "--run").unwrap();
    let document = format!("{}/opt/slipway/service/deployment.json", unpacked.root);
    let (listen, upstream) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{asked}"));
    let options = ["--deployment", &document, "--listen", &listen, "--upstream", &upstream];
    words.splice(at..at, options.iter().chain(more).map(|&word| word.to_owned()));
    // As SageMaker adds it.
    words.push("serve".to_owned());
    let log = scratch.path().join(format!("front-{port}"));
    let service = format!("{}/opt/slipway/service", unpacked.root);
    let variables = [("NODE_PORT", node.to_string()), ("NODE_SERVICE", service)];
    let variables = variables.into_iter().chain([("SLIPWAY_FRONT_KEY", "key-for-the-node".to_owned())]);
    Program::new(words, &log).with(variables).start()
}

#[tokio::test]
async fn the_front_of_an_image_starts_its_node_and_ends_with_it() {
    tests::client::http();
    let (registry, scratch) = (Registry::launch(false).await, Scratch::new("images"));
    registry.skopeo(&base_image(&scratch, b"small"), &format!("docker://{}/base:1", registry.host()));
    // Without what only a debugger reads it is a third, and so is the time to pack it.
    let binary = scratch.at("slipway");
    run(Command::new("strip").arg("-o").arg(&binary).arg(slipway::binary()));
    let front = ["--front", "sagemaker", "--endpoint", "predict", "--binary", &binary];
    let built = build(&registry, &scratch, &front);
    let unpacked = Unpacked::of(&registry, built["image"].as_str().unwrap(), &scratch);
    assert!(unpacked.read("/opt/slipway/bin/slipway") == fs::read(&binary).unwrap());
    assert!(unpacked.read("/opt/slipway/service/v1.zip") == version());

    let (port, node) = (free_port(), free_port());
    let running = start(&unpacked, &scratch, port, node, node, &[]);
    let http = reqwest::Client::new();
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let alive = || async { http.get(at("/ping")).send().await.is_ok_and(|answer| answer.status() == 200) };
    until_true("the front", PATIENCE, alive).await;
    let asked = json!({"features": {"age": 1}});
    let answer = http.post(at("/invocations")).json(&asked).send().await.unwrap();
    let expected =
        json!({"path": "/public/api/v1/churn/predict/predict", "asked": asked, "key": "Bearer key-for-the-node"});
    assert_eq!(answer.json::<Value>().await.unwrap(), expected);
    let many = json!({"items": [{"features": {"age": 1}}]});
    let answer: Value = http.post(at("/invocations")).json(&many).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["results"][0]["path"], "/public/api/v1/churn/predict/predict-multi");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.exited(PATIENCE).await, 0, "{}", running.log());
    let log = running.log();
    assert!(log.contains("node: told to stop") && log.contains("node: no key"), "{log}");
    assert!(!log.contains("key-for-the-node"), "{log}");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", node)).await.is_err(), "the node is gone");

    // The node's end is the front's.
    let (port, node) = (free_port(), free_port());
    let running = start(&unpacked, &scratch, port, node, node, &[]);
    let at = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let alive = || async { http.get(at("/ping")).send().await.is_ok_and(|answer| answer.status() == 200) };
    until_true("the front", PATIENCE, alive).await;
    let answer = http.post(at("/invocations")).json(&json!({"die": true})).send().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 503));
    assert_eq!(running.exited(PATIENCE).await, 9, "{}", running.log());

    // A node that never answers is given up, and ended.
    let (port, node) = (free_port(), free_port());
    let running = start(&unpacked, &scratch, port, node, free_port(), &["--start-timeout", "1"]);
    assert_eq!(running.exited(PATIENCE).await, 1);
    assert!(running.log().contains("FRONT_NODE_NOT_ALIVE"), "{}", running.log());
}

#[test]
fn a_base_image_starts_the_practice_node_where_the_contract_says() {
    let said = run(Command::new(slipway::binary()).args(["image", "base", "--from", "debian:stable-slim"]));
    for line in [
        "FROM debian:stable-slim",
        "USER 10001:10001",
        "EXPOSE 12000",
        r#"ENTRYPOINT ["/opt/slipway/bin/slipway", "sandbox", "--api-node", "--listen", "0.0.0.0:12000", "--serve-folder", "/opt/slipway/service"]"#,
    ] {
        assert!(said.lines().any(|each| each == line), "{line}: {said}");
    }
}

/// The entrypoint that a base image gets, started where the contract's folder is: two versions with their shares, keys and the query log's key from variables.
#[tokio::test]
async fn the_practice_node_serves_what_an_image_holds() {
    let scratch = Scratch::new("images");
    let events = Outside::open("Bearer of-the-event-server").await.unwrap();
    let folder = scratch.path().join("service");
    fs::create_dir(&folder).unwrap();
    let generations = [("v1", 0.5), ("v2", 0.5)].map(|(version, proba)| {
        let file = format!("{version}.zip");
        fs::write(folder.join(&file), sample_service(&ServiceSpec::new("churn", version))).unwrap();
        json!({"generation": version, "file": file, "proba": proba})
    });
    let target = json!({"type": "EVENT_SERVER", "url": events.url(), "keyVariable": "EVENTS_KEY"});
    let document = json!({
        "format": 1, "serviceId": "Churn_Score", "generations": generations,
        "authentication": {"mode": "KEYS", "variable": "SERVICE_KEYS"},
        "auditing": {"routingKey": "churn-prod", "targets": [target]},
    });
    fs::write(folder.join("deployment.json"), document.to_string()).unwrap();

    let said = run(Command::new(slipway::binary()).args(["image", "base"]));
    let entrypoint = said.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let mut words: Vec<String> = serde_json::from_str(entrypoint).unwrap();
    let port = free_port();
    words[0] = slipway::binary().display().to_string();
    for (there, here) in
        [("0.0.0.0:12000", format!("127.0.0.1:{port}")), ("/opt/slipway/service", scratch.at("service"))]
    {
        let word = words.iter_mut().find(|word| *word == there).unwrap();
        *word = here;
    }
    let variables = [("SERVICE_KEYS", "of-one-caller\nof-another"), ("EVENTS_KEY", "of-the-event-server")];
    let node = Program::new(words, &scratch.path().join("node.log")).with(variables).start();
    let (http, at) = (tests::client::http(), format!("http://127.0.0.1:{port}"));
    let alive = || async { http.get(format!("{at}/isAlive/")).send().await.is_ok_and(|answer| answer.status() == 200) };
    until_true("the node", PATIENCE, alive).await;

    let ask = || http.post(format!("{at}/public/api/v1/Churn_Score/score/predict")).body(r#"{"features": {"a": 1}}"#);
    assert_eq!(ask().send().await.unwrap().status(), 401);
    let mut answered = BTreeSet::new();
    for n in 0..60 {
        let key = if n % 2 == 0 { "of-one-caller" } else { "of-another" };
        let answer: Value = ask().basic_auth(key, Some("")).send().await.unwrap().json().await.unwrap();
        answered.insert(answer["result"]["generation"].as_str().unwrap().to_owned());
    }
    assert_eq!(answered.into_iter().collect::<Vec<_>>(), ["v1", "v2"]);
    until_true("its events", PATIENCE, || async {
        events.take().iter().any(|call| call.url.ends_with("/events") && call.mentions)
    })
    .await;
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(node.exited(PATIENCE).await, 0, "{}", node.log());
    for secret in ["of-one-caller", "of-another", "of-the-event-server"] {
        assert!(!node.log().contains(secret), "{}", node.log());
    }
}

#[test]
fn an_image_is_made_of_a_package_that_fits_alone() {
    let scratch = Scratch::new("misfit");
    let (package, none) = (scratch.at("v1.zip"), scratch.at("none.zip"));
    fs::write(&package, version()).unwrap();
    fs::write(&none, "no archive").unwrap();
    let front = ["--front", "sagemaker", "--endpoint"];
    for (package, more, code, says) in [
        (&none, vec![], "BUNDLE_NOT_A_ZIP", "--service"),
        (&package, vec!["--service-id", "other"], "FIELD_INVALID", "service churn"),
        (&package, [&front[..], &["nope"]].concat(), "FIELD_INVALID", "It has: predict"),
        (
            &package,
            [&front[..], &["predict", "--endpoint-type", "PY_FUNCTION"]].concat(),
            "FIELD_INVALID",
            "STD_PREDICTION",
        ),
    ] {
        let mut command = Command::new(slipway::binary());
        command.args(["image", "build", "--base", "127.0.0.1:9/base:1", "--to", "127.0.0.1:9/x", "--service", package]);
        let output = command.args(more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(code) && said.contains(says), "{code} {says}: {said}");
    }
}
