//! What others say goes into a job's log as words: nothing of it commands the CI system. And what commands say of themselves.

use std::{fs, time::Duration};

use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::{PATIENCE, until_true};

use super::{Job, held_until, place};

/// No line of it is taken for a command.
pub(super) fn commands_nothing(text: &str) {
    assert!(!text.contains("##"), "{text}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_words_of_others_command_the_ci_system() {
    let (fleet, _node) = place().await;
    let code = "def execute(**kwargs):\n    print('::warning::one')\n    print('##vso[task.complete result=Failed]two')\n    raise RuntimeError('no\\n::error::three\\n  ::stop-commands::four\\n##[error]five')\n";
    fleet.client.set_hooks("production", "PRE", json!([{"name": "::set-output::", "code": code}])).await;
    let job = Job::of(&fleet.client).of_run("7401", "1");
    let deploy = ["deploy", "--bundle", "v1", "--deployment", "churn", "--wait", "--logs"];
    let failed = job.run(&deploy);
    failed.is(1, &["one", "two", "three", "four", "five", "seen"]);
    commands_nothing(&failed.out);
    commands_nothing(&failed.err);
    commands_nothing(&job.run(&["logs", "churn"]).out);
    commands_nothing(&job.run(&["deployment", "status", "churn"]).out);
    // JSON says the same, and means it.
    let told = job.run(&[&deploy[..], &["--json"]].concat());
    commands_nothing(&told.out);
    let result = told.is(1, &[]).result();
    assert!(result["failure"]["detail"].as_str().unwrap().contains("\n##[error]five"), "{result:#}");
    let lines: Vec<Value> = told.json();
    assert!(lines.iter().any(|line| line["line"] == "##vso[task.complete result=Failed]two"), "{lines:#?}");
    // What an uploaded bundle says of itself, and lists.
    let notes = BundleSpec { release_notes: "##vso[x]".to_owned(), ..BundleSpec::new("CHURN", "::error::v2") };
    let file = job.bundle(&notes);
    let uploaded = job.run(&["bundle", "upload", &file]);
    commands_nothing(&uploaded.out);
    for json in [&["--json"][..], &[]] {
        let list = job.run(&[&["bundle", "list", "--project", "CHURN"][..], json].concat());
        commands_nothing(&list.is(0, &[]).out);
    }
}

#[test]
fn a_wrong_command_line_is_told_in_json_too() {
    let job = Job::new();
    for wrong in [
        &["deploy", "--bundle", "v1", "--json"][..],
        &["deploy", "--bundle", "v1", "--deployment", "churn", "--wait", "--timeout", "soon", "--json"],
        &["deployment", "list", "--json", "--no-such-option"],
        &["deploy", "--json", "--logs", "--bundle", "v1", "--deployment", "churn"],
    ] {
        let refused = job.run(wrong);
        let told = refused.is(2, &[]).json();
        let [error] = &told[..] else { panic!("{refused:#?}") };
        assert_eq!(
            (&error["type"], &error["code"], &error["field"], &error["exitCode"]),
            (&json!("error"), &json!("BAD_REQUEST"), &Value::Null, &json!(2)),
        );
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains('\n') && !message.is_empty() && !message.starts_with("error"), "{message}");
        assert!(refused.err.contains("error"), "people read it as before: {refused:#?}");
    }
    let help = job.run(&["deploy", "--json", "--help"]);
    assert!(help.is(0, &["--bundle"]).out.starts_with("Deploys"), "{help:#?}");
    assert_eq!(job.run(&["deploy", "--bundle", "v1"]).is(2, &[]).out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_said_in_the_words_of_the_command_line() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client).with("SLIPWAY_API_KEY", "slw_12345678_wrong");
    let refused = job.run(&["deployment", "list"]);
    refused.is(2, &["UNAUTHENTICATED", "SLIPWAY_API_KEY", "--key-file", "slipway login"]);
    assert!(!refused.err.contains("Bearer"), "{refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_revoked_while_a_job_waits_does_not_end_the_update() {
    let (fleet, node) = place().await;
    node.set_user("ann", &["administrators"], true);
    let ann = fleet.user("ann", &["administrators"]);
    let job = Job::of(&ann);
    let go = job.scratch.at("go");
    fleet.client.set_hooks("production", "PRE", json!([{"name": "gate", "code": held_until(&go)}])).await;
    let waiting = job.start("waits.log", &["deploy", "--bundle", "v1", "--deployment", "churn", "--wait", "--logs"]);
    until_true("the hook has begun", PATIENCE, || async { waiting.log().contains("the hook has begun") }).await;
    let keys = fleet.client.ask("{ apiKeys(login: \"ann\") { nodes { id } } }", json!({})).await;
    let revoke = "mutation($id: ID!) { revokeApiKey(id: $id) { refusals { code } } }";
    fleet.client.ask(revoke, json!({ "id": keys["nodes"][0]["id"] })).await;
    assert_eq!(waiting.exited(PATIENCE).await, 2, "{}", waiting.log());
    let update = fleet.client.ask("{ deployment(id: \"churn\") { latestUpdate { id } } }", json!({})).await;
    let id = update["latestUpdate"]["id"].as_str().unwrap();
    let log = waiting.log();
    assert!(log.contains("UNAUTHENTICATED") && log.contains(&format!("update {id}: it goes on")), "{log}");
    fs::write(&go, "").unwrap();
    assert_eq!(fleet.client.over(id).await["status"], "SUCCEEDED");
}

#[test]
fn a_key_file_has_an_end_and_is_short() {
    let job = Job::new().with("SLIPWAY_URL", "http://127.0.0.1:9");
    fs::write(job.scratch.at("long"), vec![b'a'; 70_000]).unwrap();
    for file in ["/dev/zero", "long", "."] {
        let begun = std::time::Instant::now();
        job.run(&["deployment", "list", "--key-file", file]).is(2, &["CONFIG_UNREADABLE", "key file"]);
        let ca = ["deployment", "list", "--ca-file", file];
        if file != "long" {
            job.run(&ca).is(2, &[]);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{file}");
    }
}
