//! Waiting: for too long, until somebody interrupts it, while the API comes and goes.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use rustix::process::Signal;
use serde_json::json;
use tests::{Client, Fleet, PATIENCE, Size, guard::Guarded, practice, until_true};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use super::{Job, held_until, place, updates};

const DEPLOY: [&str; 6] = ["deploy", "--bundle", "v1", "--deployment", "churn", "--wait"];

/// A hook before deployments to `production` that waits for this file.
async fn hold(client: &Client, file: &str) {
    client.set_hooks("production", "PRE", json!([{"name": "gate", "code": held_until(file)}])).await;
}

/// Waits until a command has printed this.
async fn says(process: &Guarded, part: &str) {
    until_true(part, PATIENCE, || async { process.log().contains(part) }).await;
}

/// The id of the deployment's newest update.
async fn newest(client: &Client) -> String {
    let found = client.ask("{ deployment(id: \"churn\") { latestUpdate { id } } }", json!({})).await;
    found["latestUpdate"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_a_wait_has_its_own_exit_code_and_the_update_goes_on() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client).of_run("7101", "1");
    let file = job.scratch.at("go");
    hold(&fleet.client, &file).await;
    let late = job.run(&[&DEPLOY[..], &["--timeout", "1s"]].concat());
    late.is(3, &["WAIT_TIMED_OUT", "still RUNNING", "slipway logs -f", "slipway cancel"]);
    let late = job.run(&[&DEPLOY[..], &["--timeout", "1s", "--json"]].concat());
    let result = late.is(3, &[]).result();
    assert_eq!(
        (&result["type"], &result["code"], &result["exitCode"]),
        (&json!("error"), &json!("WAIT_TIMED_OUT"), &json!(3))
    );
    // Who gives the command again goes on waiting for the same one.
    fs::write(&file, "").unwrap();
    job.run(&DEPLOY).is(0, &["asked for before", "SUCCEEDED"]);
    assert_eq!(updates(&fleet.client, "churn").await, 1);
    job.run(&[&DEPLOY[..], &["--timeout", "soon"]].concat()).is(2, &["90s, 30m, 2h"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_says_that_the_update_goes_on_or_cancels_it() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client);
    let file = job.scratch.at("go");
    hold(&fleet.client, &file).await;
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let name = format!("{code}.log");
        let waiting = job.start(&name, &[&DEPLOY[..], &["--logs"]].concat());
        says(&waiting, "the hook has begun").await;
        waiting.signal(signal);
        assert_eq!(waiting.exited(PATIENCE).await, code, "{}", waiting.log());
        let id = newest(&fleet.client).await;
        assert!(waiting.log().contains(&format!("slipway cancel {id}")), "{}", waiting.log());
        // It goes on until somebody says otherwise.
        let followed = job.start(&format!("follow-{code}.log"), &["logs", "-f", &id]);
        says(&followed, "the hook has begun").await;
        job.run(&["cancel", "churn", "--wait"]).is(0, &["Asked update", "CANCELLED"]);
        assert_eq!(followed.exited(PATIENCE).await, 1, "{}", followed.log());
        assert!(followed.log().contains("admin"), "who cancelled it: {}", followed.log());
        job.run(&["cancel", &id]).is(2, &["UPDATE_ENDED"]);
    }
    let waiting = job.start("cancels.log", &[&DEPLOY[..], &["--logs", "--cancel-on-interrupt"]].concat());
    says(&waiting, "the hook has begun").await;
    waiting.signal(Signal::INT);
    assert_eq!(waiting.exited(PATIENCE).await, 1, "{}", waiting.log());
    assert!(waiting.log().contains("CANCELLED"), "{}", waiting.log());
    assert_eq!(fleet.client.update(&newest(&fleet.client).await).await["status"], "CANCELLED");
    fs::write(&file, "").unwrap();
    job.run(&DEPLOY).is(0, &["SUCCEEDED"]);
    job.run(&["logs", "churn"]).is(0, &["pre_hooks/1 | the hook has begun"]);
    let lines = job.run(&["logs", "churn", "--json"]).json();
    assert!(lines.iter().all(|line| line["type"] == "log" && line["line"].is_string()), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_an_update_that_is_over_is_done_soon_however_many_follow_it() {
    let (fleet, _node) = place().await;
    let job = Job::of(&fleet.client);
    job.run(&DEPLOY).is(0, &["SUCCEEDED"]);
    let begun = std::time::Instant::now();
    let mut followers = Vec::new();
    // One after the other, so that most come while the server watches it for others already.
    while begun.elapsed() < std::time::Duration::from_secs(4) {
        let follower = job.start(&format!("{}.log", followers.len()), &["logs", "-f", "churn"]);
        says(&follower, "push_bundle |").await;
        followers.push(follower);
    }
    for follower in &followers {
        assert_eq!(follower.exited(PATIENCE).await, 0, "{}", follower.log());
        assert!(follower.log().contains("push_bundle |"), "{}", follower.log());
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// A door to an API that may move: its address stays.
struct Door {
    url: String,
    port: Arc<AtomicU16>,
}

impl Door {
    async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let port = Arc::new(AtomicU16::new(0));
        let to = Arc::clone(&port);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let port = to.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { url, port }
    }

    fn leads_to(&self, client: &Client) {
        let port = client.url().rsplit(':').next().unwrap().parse().unwrap();
        self.port.store(port, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_restarted_while_a_job_waits() {
    let mut fleet = Fleet::of(Size::Fleet).workers(1).start().await;
    let node = practice::node().await;
    node.set_user("admin", &["administrators"], true);
    fleet.client.deployments(&node, &["churn"]).await;
    let door = Door::open().await;
    door.leads_to(&fleet.client);
    let job = Job::of(&fleet.client).with("SLIPWAY_URL", &door.url);
    let file = job.scratch.at("go");
    hold(&fleet.client, &file).await;
    let waiting = job.start("waits.log", &[&DEPLOY[..], &["--logs"]].concat());
    says(&waiting, "the hook has begun").await;
    fleet.api.as_ref().unwrap().kill().await;
    fleet.api = None;
    says(&waiting, "no connection").await;
    fs::write(&file, "").unwrap();
    fleet.start_api().await;
    door.leads_to(&fleet.client);
    assert_eq!(waiting.exited(PATIENCE).await, 0, "{}", waiting.log());
    // Nothing is missing, and nothing there twice.
    let log = waiting.log();
    assert_eq!(log.matches("no connection").count(), 1, "events and log lose theirs at once: {log}");
    for once in ["the hook has begun", "✓ check_policy", "✓ pre_hooks/1", "✓ push_bundle", "✓ verify", "  SUCCEEDED"]
    {
        assert_eq!(log.matches(once).count(), 1, "{once}: {log}");
    }
    assert_eq!(updates(&fleet.client, "churn").await, 1);
}
