//! The same command given again: what it says, and what it leaves alone.

use sandbox::BundleSpec;
use serde_json::{Value, json};
use tests::Client;

use super::{Job, place, updates};

/// The bundle that a deployment is set to, and its version.
async fn set(client: &Client, id: &str) -> (Value, Value) {
    let document = "query($id: ID!) { deployment(id: $id) { bundleId version } }";
    let found = client.ask(document, json!({ "id": id })).await;
    (found["bundleId"].clone(), found["version"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_deploy_changes_nothing_once_another_update_came_after_it() {
    let (fleet, node) = place().await;
    let job = Job::of(&fleet.client).of_run("7301", "1");
    let active = || node.snapshot()["projects"]["CHURN"]["activeBundle"].as_str().unwrap_or("none").to_owned();
    job.run(&["deploy", "--bundle", "v1", "--deployment", "churn", "--wait"]).is(0, &["On the node now"]);
    let file = job.bundle(&BundleSpec::new("CHURN", "v2"));
    let deploy = ["deploy", "--bundle", &file, "--deployment", "churn"];
    let wait = [&deploy[..], &["--wait"]].concat();
    job.run(&wait).is(0, &["Update 2 of churn", "On the node now", "bundle      v2"]);
    // Again, with nothing in between: it tells what that update did.
    let again = job.run(&wait);
    again.is(0, &["asked for before", "After update 2, in project CHURN", "bundle      v2"]);
    assert!(!again.out.contains("On the node now"), "{again:#?}");
    job.run(&["restore", "churn", "--wait"]).is(0, &["Update 3 of churn", "bundle      v1"]);
    assert_eq!(active(), "v1");
    let before = set(&fleet.client, "churn").await;
    assert_eq!(before.0, "v1");
    for arguments in [&wait[..], &deploy] {
        let refused = job.run(arguments);
        refused.is(1, &["Update 2 of churn", "asked for before", "UPDATE_SUPERSEDED", "update 3", "--idempotency-key"]);
        assert!(!refused.out.contains("On the node now"), "{refused:#?}");
    }
    let told = job.run(&[&wait[..], &["--json"]].concat());
    let result = told.is(1, &[]).result();
    assert_eq!(
        (&result["type"], &result["code"], &result["exitCode"]),
        (&json!("error"), &json!("UPDATE_SUPERSEDED"), &json!(1))
    );
    assert_eq!((set(&fleet.client, "churn").await, active()), (before, "v1".to_owned()), "nothing was set");
    assert_eq!(updates(&fleet.client, "churn").await, 3);
    // The log of what is past is not about now, either.
    let id = told.json().into_iter().find(|line| line["type"] == "update").unwrap()["id"].clone();
    job.run(&["logs", "-f", id.as_str().unwrap()]).is(0, &["After update 2"]);
    // A new attempt is a new request, and so is another key.
    job.run(&[&wait[..], &["--idempotency-key", "mine"]].concat()).is(0, &["Update 4 of churn", "bundle      v2"]);
    assert_eq!(active(), "v2");
    // What is restored is not restored again, either.
    job.run(&["restore", "churn", "--wait"]).is(1, &["Update 3 of churn", "UPDATE_SUPERSEDED", "update 4"]);
    job.of_run("7301", "2").run(&["restore", "churn", "--wait"]).is(0, &["Update 5 of churn", "bundle      v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_bundle() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client);
    let file = job.bundle(&BundleSpec::new("CHURN", "v2"));
    let deploy = |bundle: &str| {
        job.run(&["deploy", "--bundle", bundle, "--deployment", "churn", "--idempotency-key", "k", "--wait"])
    };
    deploy("v1").is(0, &["Update 1 of churn"]);
    deploy(&file).is(2, &["IDEMPOTENCY_MISMATCH"]);
    assert_eq!(set(&fleet.client, "churn").await, (json!("v1"), json!(1)));
}
