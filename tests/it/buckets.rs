//! Packages and events in an object store, as S3 has it: signed, and with the least rights that the documents name.

use std::{fs, process::Output};

use sandbox::{BundleSpec, write_big_bundle};
use serde_json::json;
use tests::{
    Fleet, FleetBuilder, Size,
    bucket::{self, Bucket},
    practice,
};

use crate::events::{Ground, Sender, event};

fn with(fleet: FleetBuilder, bucket: &Bucket) -> FleetBuilder {
    let fleet = fleet.set("SLIPWAY_PACKAGES_LOCATION", format!("s3://{}/of/slipway", bucket::NAME));
    bucket.variables().into_iter().fold(fleet, |fleet, (variable, value)| fleet.set(variable, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_keeps_its_packages_in_a_bucket() {
    let bucket = Bucket::launch();
    let fleet = with(Fleet::of(Size::Fleet), &bucket).start().await;
    let node = practice::node().await;
    let api = &fleet.client;
    api.infrastructure("production", &node, json!({})).await;
    // Of three parts, the last of which is small.
    let file = fleet.scratch().path().join("big.zip");
    let written = write_big_bundle(&BundleSpec::new("CHURN", "v1"), &file, 11 << 20).unwrap();
    let archive = fs::read(file).unwrap();
    api.upload(archive.clone()).await;
    api.bundle(&BundleSpec::new("CHURN", "v2")).await;
    let key = format!("of/slipway/packages/{}/{}", &written.sha256[..2], written.sha256);
    let objects = bucket.objects();
    assert_eq!((objects.len(), objects.get(&key) == Some(&archive)), (2, true), "{:?}", objects.keys());
    api.deployment("churn", "production", ("CHURN", "v1"), "CHURN", json!({})).await;
    api.run("churn", "SUCCEEDED").await;
    assert_eq!(node.snapshot()["projects"]["CHURN"]["activeBundle"], "v1");
    let url = format!("{}/projects/CHURN/bundles/v1", api.url());
    let back = tests::client::http().get(url).bearer_auth(api.key()).send().await.unwrap();
    assert!(back.bytes().await.unwrap() == archive, "another archive came back");
    api.tell("deleteBundle(projectKey: \"CHURN\", id: \"v2\")", "deletedId").await;
    assert_eq!(bucket.objects().into_keys().collect::<Vec<_>>(), [key]);
}

/// A command that is to end by itself at once.
fn run(fleet: &Fleet, arguments: &[&str]) -> Output {
    let guarded = format!("timeout 30 \"$0\" {}", arguments.join(" "));
    fleet.shell(&guarded)
}

fn refused(out: &Output, code: &str) -> String {
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains(code), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_none_of_ours_is_found_out_at_the_start() {
    let bucket = Bucket::launch();
    let mut fleet = with(Fleet::of(Size::Fleet).workers(0), &bucket).start().await;
    fleet.set("SLIPWAY_PACKAGES_LOCATION", "s3://somebody-elses");
    refused(&run(&fleet, &["api", "--listen", "127.0.0.1:0"]), "PACKAGE_STORE_UNUSABLE");
    fleet.set("SLIPWAY_PACKAGES_LOCATION", format!("s3://{}", bucket::NAME));
    fleet.set("AWS_SECRET_ACCESS_KEY", "an0ther-secret");
    let said = refused(&run(&fleet, &["worker"]), "PACKAGE_STORE_UNUSABLE");
    assert!(said.contains("packages.location: s3://ours can't be used") && !said.contains("an0ther"), "{said}");
    fleet.set("SLIPWAY_EVENTS_LOCATION", format!("s3://{}/x", bucket::NAME));
    let said = refused(&run(&fleet, &["event-server", "--listen", "127.0.0.1:0"]), "CONFIG_INVALID");
    assert!(said.contains("events.state"), "{said}");
    fleet.set("SLIPWAY_EVENTS_STATE", fleet.scratch().at("state"));
    let said = refused(&run(&fleet, &["event-server", "--listen", "127.0.0.1:0"]), "EVENT_STORE_UNUSABLE");
    assert_eq!(said.matches("can't be used").count(), 1, "{said}");
    assert!(!fs::exists(fleet.scratch().at("state")).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_filed_by_topic_routing_key_and_hour() {
    let ground = Ground::in_a_bucket();
    let server = ground.serve().await;
    let sender = Sender::new(&server, &ground.key);
    let body =
        json!({ "batchId": "b", "events": [event("apinode-query", "churn", 1), event("apinode-query", "a/b c", 2)] });
    assert_eq!(sender.send(&body).await.unwrap().body, json!({ "events": 2, "duplicate": false }));
    assert_eq!(sender.send(&body).await.unwrap().body, json!({ "events": 2, "duplicate": true }));
    let filed = ground.filed();
    let folders: Vec<_> = filed.keys().map(|folder| folder.split('/').collect::<Vec<_>>()).collect();
    assert_eq!(
        folders.iter().map(|folder| folder[..2].join("/")).collect::<Vec<_>>(),
        ["apinode-query/a%2Fb%20c", "apinode-query/churn"]
    );
    assert_eq!(folders[0][2..].iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2, 2]);
    let numbers: Vec<_> = filed.values().map(|lines| lines[0]["clientEvent"]["n"].clone()).collect();
    assert_eq!(numbers, [2, 1]);
}
