//! Bundles and deployments by hand.

use std::fs;

use sandbox::BundleSpec;
use serde_json::json;

use super::{Job, place};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bundle_again_is_fine_and_another_of_its_name_is_not() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client);
    let v2 = BundleSpec::new("CHURN", "v2");
    let file = job.bundle(&v2);
    let first = job.run(&["bundle", "upload", &file, "--json"]);
    first.is(0, &[]);
    let (first, again) = (first.result(), job.run(&["bundle", "upload", &file, "--json"]).result());
    assert_eq!((&first["alreadyThere"], &again["alreadyThere"]), (&json!(false), &json!(true)));
    assert_eq!((&first["bundleId"], &first["projectKey"]), (&json!("v2"), &json!("CHURN")));
    assert_eq!(first["sha256"], again["sha256"]);
    job.run(&["bundle", "upload", &file]).is(0, &["there already", "bundle v2 of project CHURN"]);
    let other = job.bundle(&BundleSpec { release_notes: "other".to_owned(), ..v2 });
    job.run(&["bundle", "upload", &other]).is(2, &["BUNDLE_EXISTS"]);
    // Into another project, it is another bundle.
    job.run(&["bundle", "upload", &other, "--project", "SECOND"]).is(0, &["Uploaded bundle v2 of project SECOND"]);
    job.run(&["bundle", "list", "--project", "CHURN"]).is(0, &["BUNDLE", "v1", "v2", "admin"]);
    let listed = job.run(&["bundle", "list", "--project", "CHURN", "--json"]).json();
    let ids: Vec<_> = listed.iter().map(|bundle| bundle["id"].clone()).collect();
    assert_eq!(ids, ["v2", "v1"], "newest first");
    let broken = job.scratch.at("broken.zip");
    fs::write(&broken, "no zip").unwrap();
    job.run(&["bundle", "upload", &broken]).is(2, &["BUNDLE_NOT_A_ZIP"]);
    job.run(&["bundle", "upload", "nowhere.zip"]).is(2, &["IO_FAILED", "nowhere.zip"]);
    // Hidden and absent: one text.
    let outsider = Job::of(&fleet.user("outsider", &[]));
    let hidden = outsider.run(&["bundle", "list", "--project", "CHURN"]);
    assert_eq!(hidden.is(2, &["NOT_FOUND"]).err, outsider.run(&["bundle", "list", "--project", "NEVER"]).err);
    outsider.run(&["bundle", "upload", &file]).is(2, &["ID_NOT_AVAILABLE"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_are_made_changed_and_shown() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client);
    job.run(&["bundle", "upload", &job.bundle(&BundleSpec::new("CHURN", "v2"))]).is(0, &[]);
    let settings = job.scratch.at("settings.json");
    fs::write(&settings, r#"{"localVariables": {"region": "eu"}, "scenarios": [{"id": "DAILY", "on": true}]}"#)
        .unwrap();
    let create = [
        "deployment",
        "create",
        "second",
        "--infrastructure",
        "production",
        "--project",
        "CHURN",
        "--bundle",
        "v1",
        "--deployed-project",
        "SECOND",
        "--settings",
        &settings,
        "--remap",
        "sql-dev=sql-prod",
        "--json",
    ];
    let made = job.run(&create);
    made.is(0, &[]);
    assert_eq!(made.result()["deployedProjectKey"], "SECOND");
    let seen = fleet
        .client
        .ask(
            "{ deployment(id: \"second\") { settings { localVariables connectionRemapping { source target } } } }",
            json!({}),
        )
        .await;
    assert_eq!(seen["settings"]["localVariables"], json!({"region": "eu"}));
    assert_eq!(seen["settings"]["connectionRemapping"], json!([{"source": "sql-dev", "target": "sql-prod"}]));
    let refused = job.run(&create);
    assert_eq!(refused.is(2, &["ID_NOT_AVAILABLE"]).result()["exitCode"], 2);
    // A change of one thing leaves the others.
    job.run(&["deployment", "update", "second", "--bundle", "v2"]).is(0, &["Bundle          v2", "version 2"]);
    job.run(&["deployment", "update", "second", "--bundle", "v1", "--expected-version", "1"])
        .is(2, &["VERSION_CONFLICT"]);
    job.run(&["deployment", "update", "second", "--bundle", "v9"]).is(2, &["BUNDLE_UNKNOWN"]);
    job.run(&["deployment", "update", "second"]).is(2, &["BAD_REQUEST"]);
    job.run(&["deployment", "update", "second", "--settings", "nowhere.json"]).is(2, &["CONFIG_UNREADABLE"]);
    fs::write(&settings, r#"{"noSuchSetting": 1}"#).unwrap();
    job.run(&["deployment", "update", "second", "--settings", &settings]).is(2, &["noSuchSetting"]);
    job.run(&["deployment", "update", "second", "--remap", "nothing"]).is(2, &["SOURCE=TARGET"]);
    job.run(&["deployment", "list"]).is(0, &["churn", "second", "NEWEST UPDATE"]);
    assert_eq!(job.run(&["deployment", "list", "--project", "CHURN", "--json"]).json().len(), 2);
    assert_eq!(job.run(&["deployment", "list", "--infrastructure", "nowhere", "--json"]).json().len(), 0);
    job.run(&["deployment", "status", "second"]).is(0, &["none yet"]);
    fleet.client.run("churn", "SUCCEEDED").await;
    job.run(&["deployment", "status", "churn"]).is(0, &["SUCCEEDED", "by admin"]);
    assert_eq!(job.run(&["deployment", "status", "churn", "--json"]).result()["latestUpdate"]["status"], "SUCCEEDED");
    let outsider = Job::of(&fleet.user("outsider", &[]));
    for command in [
        &["deployment", "status"][..],
        &["deployment", "update", "--bundle", "v1"],
        &["logs"],
        &["cancel"],
        &["deploy", "--bundle", "v1", "--deployment"],
    ] {
        let of = |id| outsider.run(&[command, &[id]].concat());
        let (hidden, absent) = (of("churn"), of("never"));
        hidden.is(2, &["NOT_FOUND"]);
        assert_eq!((hidden.out, hidden.err), (absent.out, absent.err), "{command:?}");
    }
    assert_eq!(outsider.run(&["deployment", "list", "--json"]).out, "");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        Job::new().run(&["completions", shell]).is(0, &["deployment", "cancel-on-interrupt"]);
    }
    Job::new().run(&["completions", "dos"]).is(2, &[]);
}
