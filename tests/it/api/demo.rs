//! `slipway demo`, as somebody types it: what it shows, how it ends, and what it leaves.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Client, PATIENCE, guard::Program, scratch::Scratch, slipway, until};

use super::commands::{run, said};

const EXIT: [&str; 4] = ["demo", "--exit", "--listen", "127.0.0.1:0"];
const HOOKS: [&str; 2] = ["pre_hooks/1", "post_hooks/1"];
const STEPS: [&str; 6] = ["check_policy", "validate_remap", "push_bundle", "activate", "enforce_run_as", "verify"];

/// The line of a step that was done; no terminal, no colours.
fn is_done(told: &str, step: &str) -> bool {
    told.lines().any(|line| line.starts_with(&format!("  ✓ {step} ")) && line.ends_with(" s"))
}

#[test]
fn shows_each_step_and_the_receipt_and_ends() {
    let scratch = Scratch::new("demo");
    let python = slipway::python();
    let output = run(&scratch, &EXIT, &[("SLIPWAY_WORKER_HOOKS_PYTHON", &python)]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for step in STEPS.into_iter().chain(HOOKS) {
        assert!(is_done(&told, step), "{step}: {told}");
    }
    for part in [
        "SUCCEEDED",
        "bundle      v1",
        "sql-dev -> sql-prod (PostgreSQL)",
        "DAILY      on       runs as svc_run",
        "WEEKLY     off      runs as svc_run",
        "It is as this update was to leave it.",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains('\u{1b}'), "{told}");
}

#[test]
fn without_python_it_names_what_it_leaves_out() {
    let scratch = Scratch::new("demo");
    let output = run(&scratch, &EXIT, &[("PATH", scratch.at("nothing").as_str())]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("no python3") && HOOKS.iter().all(|step| told.contains(step)), "{told}");
    assert!(STEPS.iter().all(|step| is_done(&told, step)) && !HOOKS.iter().any(|step| is_done(&told, step)), "{told}");
}

#[test]
fn a_deployment_that_fails_is_exit_code_1() {
    let scratch = Scratch::new("demo");
    let output = run(&scratch, &EXIT, &[("SLIPWAY_WORKER_HOOKS_PYTHON", "/bin/false")]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("FAILED") && !is_done(&told, "activate"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stays_up_with_a_key_and_a_curl_until_it_is_interrupted() {
    let scratch = Scratch::new("demo");
    let folder = scratch.path().join("tmp");
    fs::create_dir(&folder).unwrap();
    let binary = slipway::binary().display().to_string();
    let demo = Program::new([binary.as_str(), "demo", "--listen", "127.0.0.1:0"], &scratch.path().join("demo.log"));
    let demo = demo
        .with([("TMPDIR", folder.display().to_string()), ("SLIPWAY_WORKER_HOOKS_PYTHON", slipway::python())])
        .start();
    let told = until("a curl to try", PATIENCE, || async {
        assert_eq!(demo.exit_code(), None, "{}", demo.log());
        Some(demo.log()).filter(|log| log.contains("curl ") && log.contains("Ctrl-C"))
    })
    .await;
    let word = |start: &str| {
        let words = told.split([' ', '\n', '\'', '"']);
        words.clone().find(|word| word.starts_with(start)).unwrap_or_else(|| panic!("no {start} in {told}")).to_owned()
    };
    let graphiql = told.split([' ', '\n']).find(|word| word.ends_with("/graphiql")).unwrap();
    let client = Client::new(graphiql.trim_end_matches("/graphiql"), &word("slw_"));
    assert_eq!(client.graphql("{ viewer { login } }", json!({})).await["viewer"]["login"], "admin");
    // What the curl would ask; a bare machine has none.
    let body = told.split("-d '").nth(1).and_then(|rest| rest.split("'\n").next()).unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let answer = client.graphql(body["query"].as_str().unwrap(), json!({})).await;
    let update = &answer["updates"]["nodes"][0];
    assert_eq!((update["status"].as_str(), update["steps"].as_array().unwrap().len()), (Some("SUCCEEDED"), 8));
    demo.signal(Signal::INT);
    assert_eq!(demo.exited(PATIENCE).await, 0, "{}", demo.log());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
