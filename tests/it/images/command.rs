//! `slipway image build` makes an image with a front; the front of the unpacked image starts its node and speaks the platform's contract.

use std::{fs, process::Command};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tests::{
    PATIENCE,
    guard::{Guarded, Program, free_port},
    registry::{PASSWORD, Registry, USER, run},
    scratch::Scratch,
    slipway, until_true,
};

use super::{Unpacked, base_image, noise};

fn build(registry: &Registry, scratch: &Scratch, more: &[&str]) -> Value {
    let logins = scratch.at("config.json");
    let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    fs::write(&logins, json!({"auths": {registry.host(): {"auth": auth}}}).to_string()).unwrap();
    let package = scratch.at("v1.zip");
    fs::write(&package, noise(3_000, 9)).unwrap();
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
    let (registry, scratch) = (Registry::launch(false).await, Scratch::new("images"));
    registry.skopeo(&base_image(&scratch, b"small"), &format!("docker://{}/base:1", registry.host()));
    let front = ["--front", "sagemaker", "--endpoint", "predict", "--endpoint-type", "STD_PREDICTION"];
    let built = build(&registry, &scratch, &front);
    assert_eq!(build(&registry, &scratch, &front)["sent"], 0, "the second time all is there");
    let unpacked = Unpacked::of(&registry, built["image"].as_str().unwrap(), &scratch);
    assert!(unpacked.read("/opt/slipway/bin/slipway") == fs::read(slipway::binary()).unwrap());
    assert!(unpacked.read("/opt/slipway/service/v1.zip") == noise(3_000, 9));

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
