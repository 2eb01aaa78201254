//! Subscriptions: complete, in order, each once; and only for those who may.

use serde_json::{Value, json};

use crate::world::{Following, world};

const EVENTS: &str =
    "subscription($id: ID!, $after: Long) { updateEvents(updateId: $id, afterSeq: $after) { seq kind status } }";
const LOG: &str = "subscription($id: ID!, $after: Long) { updateLog(updateId: $id, afterSeq: $after) { seq line } }";
const CHANGED: &str =
    "subscription($id: ID) { deploymentChanged(id: $id) { id version latestUpdate { status lastSeq } } }";

async fn seqs(following: &mut Following) -> Vec<i64> {
    let mut seqs = Vec::new();
    while let Some(response) = following.next().await {
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        seqs.push(response.data.into_json().unwrap()["updateEvents"]["seq"].as_i64().unwrap());
    }
    seqs
}

#[tokio::test]
async fn events_come_as_they_are_written_and_resume_without_gap_or_repeat() {
    let world = world().await;
    let (id, worker) = (world.start().await, world.worker().await);
    let mut events = world.follow(&world.admin, EVENTS, json!({"id": id}));
    assert_eq!(events.data().await["updateEvents"]["kind"], "Requested");
    worker.claim(&id).await;
    assert_eq!(events.data().await["updateEvents"]["kind"], "Claimed");
    assert_eq!(events.data().await["updateEvents"], json!({"seq": 3, "kind": "StepStarted", "status": null}));
    let mut resumed = world.follow(&world.admin, EVENTS, json!({"id": id, "after": 2}));
    assert_eq!(resumed.data().await["updateEvents"]["seq"], 3);
    for n in 0..300 {
        worker.note(&id, &format!("note-{n}")).await;
    }
    world.admin("mutation($id: ID!) { cancelUpdate(id: $id) { refusals { code } } }", json!({"id": id})).await;
    worker.finish(&id).await;
    let last = world.admin("query($id: ID!) { update(id: $id) { lastSeq status } }", json!({"id": id})).await["update"]
        .clone();
    let last_seq = last["lastSeq"].as_i64().unwrap();
    let expected: Vec<i64> = (4..=last_seq).collect();
    assert_eq!(seqs(&mut events).await, expected);
    assert_eq!(seqs(&mut resumed).await, expected);
    // Whoever comes after the end gets what is left, or nothing, and the end.
    assert_eq!(
        seqs(&mut world.follow(&world.admin, EVENTS, json!({"id": id, "after": last_seq - 1}))).await,
        [last_seq]
    );
    assert_eq!(
        seqs(&mut world.follow(&world.admin, EVENTS, json!({"id": id, "after": last_seq}))).await,
        Vec::<i64>::new()
    );
}

#[tokio::test]
async fn the_log_ends_with_the_update() {
    let world = world().await;
    let (id, worker) = (world.start().await, world.worker().await);
    let viewer = world.somebody("viewer", &["see"]).await;
    worker.claim(&id).await;
    let mut log = world.follow(&viewer, LOG, json!({"id": id}));
    worker.say(&id, 1, "one", false).await;
    worker.say(&id, 2, "source code", true).await;
    worker.say(&id, 3, "three", false).await;
    let first = log.data().await["updateLog"].clone();
    assert_eq!(first["line"], "one");
    assert_eq!(log.data().await["updateLog"]["line"], "three", "what is for administrators is not for viewers");
    let mut resumed = world.follow(&world.admin, LOG, json!({"id": id, "after": first["seq"]}));
    assert_eq!(resumed.data().await["updateLog"]["line"], "source code");
    assert_eq!(resumed.data().await["updateLog"]["line"], "three");
    world.admin("mutation($id: ID!) { cancelUpdate(id: $id) { refusals { code } } }", json!({"id": id})).await;
    worker.finish(&id).await;
    assert!(log.next().await.is_none());
    assert!(resumed.next().await.is_none());
}

#[tokio::test]
async fn each_of_several_followers_of_a_log_hears_its_end() {
    let world = world().await;
    let (id, worker) = (world.start().await, world.worker().await);
    worker.claim(&id).await;
    let mut followers = Vec::new();
    for _ in 0..3 {
        let mut log = world.follow(&world.admin, LOG, json!({"id": id}));
        if followers.is_empty() {
            worker.say(&id, 1, "one", false).await;
        }
        assert_eq!(log.data().await["updateLog"]["line"], "one");
        followers.push(log);
    }
    world.admin("mutation($id: ID!) { cancelUpdate(id: $id) { refusals { code } } }", json!({"id": id})).await;
    worker.finish(&id).await;
    // One who comes after the end, while the others still follow.
    let mut late = world.follow(&world.admin, LOG, json!({"id": id}));
    let begun = tokio::time::Instant::now();
    assert_eq!(late.data().await["updateLog"]["line"], "one");
    followers.push(late);
    for log in &mut followers {
        assert!(log.next().await.is_none());
    }
    // Without news a follower looks by itself after half a minute only.
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn deployments_are_told_of_when_they_move() {
    let world = world().await;
    let mut one = world.follow(&world.admin, CHANGED, json!({"id": "churn"}));
    assert_eq!(
        one.data().await["deploymentChanged"],
        json!({"id": "churn", "version": 1, "latestUpdate": null}),
        "first as it is"
    );
    let mut all = world.follow(&world.admin, CHANGED, json!({}));
    let beginning = tokio::spawn(async move {
        let first = all.data().await;
        (first, all)
    });
    let (id, worker) = (world.start().await, world.worker().await);
    let status = |data: &Value| data["deploymentChanged"]["latestUpdate"]["status"].clone();
    assert_eq!(status(&one.data().await), "QUEUED");
    let (first, mut all) = beginning.await.unwrap();
    assert_eq!(first["deploymentChanged"]["id"], "churn");
    worker.claim(&id).await;
    assert_eq!(status(&one.data().await), "RUNNING");
    while status(&all.data().await) != "RUNNING" {}
    world.admin("mutation { updateDeploymentSettings(input: {id: \"churn\", expectedVersion: 1, settings: {scenarios: []}}) { refusals { code } } }", json!({})).await;
    assert_eq!(one.data().await["deploymentChanged"]["version"], 2);
}

#[tokio::test]
async fn nobody_follows_what_they_may_not_see() {
    let world = world().await;
    let (id, worker) = (world.start().await, world.worker().await);
    let stranger = world.somebody("stranger", &["other"]).await;
    for id in [id.as_str(), "1", "x"] {
        world.follow(&stranger, EVENTS, json!({"id": id})).ends_with("NOT_FOUND").await;
        world.follow(&stranger, LOG, json!({"id": id})).ends_with("NOT_FOUND").await;
    }
    for id in ["churn", "nothing"] {
        world.follow(&stranger, CHANGED, json!({"id": id})).ends_with("NOT_FOUND").await;
    }
    // A right that is taken away, and a key that is revoked, end what runs.
    let viewer = world.somebody("viewer", &["see"]).await;
    let other = world.somebody("another", &["see"]).await;
    let mut events = world.follow(&viewer, EVENTS, json!({"id": id}));
    let mut revoked = world.follow(&other, EVENTS, json!({"id": id}));
    assert_eq!(events.data().await["updateEvents"]["seq"], 1);
    assert_eq!(revoked.data().await["updateEvents"]["seq"], 1);
    world
        .admin(
            "mutation { updateUser(input: {login: \"viewer\", groups: [\"other\"]}) { refusals { code } } }",
            json!({}),
        )
        .await;
    world
        .admin("mutation($id: ID!) { revokeApiKey(id: $id) { refusals { code } } }", json!({"id": other.key_id}))
        .await;
    worker.claim(&id).await;
    events.ends_with("NOT_FOUND").await;
    revoked.ends_with("UNAUTHENTICATED").await;
}

#[tokio::test]
async fn a_long_log_is_read_at_once() {
    let world = world().await;
    let (id, worker) = (world.start().await, world.worker().await);
    worker.claim(&id).await;
    for n in 0..1_500 {
        worker.say(&id, n + 1, "line", false).await;
    }
    let mut whole = world.follow(&world.admin, LOG, json!({"id": id}));
    // Written by a task of its own: the last line tells that all are there.
    for _ in 0..1_500 {
        whole.data().await;
    }
    let begun = tokio::time::Instant::now();
    let mut again = world.follow(&world.admin, LOG, json!({"id": id}));
    for _ in 0..1_500 {
        again.data().await;
    }
    // Eight batches; a wait after each would be a quarter of a minute.
    assert!(begun.elapsed() < std::time::Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn new_and_deleted_deployments_are_changes() {
    let world = world().await;
    let mut one = world.follow(&world.admin, CHANGED, json!({"id": "churn"}));
    one.data().await;
    let mut all = world.follow(&world.admin, CHANGED, json!({}));
    let told = tokio::spawn(async move { all.data().await });
    world
        .admin(
            "mutation { createDeployment(input: {id: \"other\", projectKey: \"CHURN\", infrastructureId: \"PROD\", bundleId: \"v1\", deployedProjectKey: \"OTHER\"}) { refusals { code } }
               deleteDeployment(id: \"churn\") { refusals { code } } }",
            json!({}),
        )
        .await;
    assert_eq!(told.await.unwrap()["deploymentChanged"]["id"], "other");
    one.ends_with("NOT_FOUND").await;
}

#[tokio::test]
async fn what_runs_ends_with_its_user_and_with_each_right() {
    let world = world().await;
    let (id, worker) = (world.start().await, world.worker().await);
    let mut running = Vec::new();
    for login in ["disabled", "deleted", "left"] {
        let viewer = world.somebody(login, &["see"]).await;
        running.push(world.follow(&viewer, EVENTS, json!({"id": id})));
    }
    // One who sees through another group, which loses its right on the project.
    world.admin("mutation { createGroup(name: \"readers\") { refusals { code } } }", json!({})).await;
    let rights = "mutation($version: Long!, $read: Boolean!) { updatePublishedProject(input: {key: \"CHURN\", expectedVersion: $version, permissions: [
        {group: \"see\", read: true}, {group: \"deploy\", deploy: true}, {group: \"readers\", read: $read}]}) { refusals { code } } }";
    world.admin(rights, json!({"version": 2, "read": true})).await;
    world
        .admin("mutation { setInfrastructurePermissions(id: \"PROD\", expectedVersion: 1, permissions: [{group: \"see\", level: VIEW}, {group: \"readers\", level: VIEW}]) { refusals { code } } }", json!({}))
        .await;
    let reader = world.somebody("reader", &["readers"]).await;
    running.push(world.follow(&reader, EVENTS, json!({"id": id})));
    for one in &mut running {
        assert_eq!(one.data().await["updateEvents"]["seq"], 1);
    }
    let changed = world
        .admin(
            "mutation { updateUser(input: {login: \"disabled\", enabled: false}) { refusals { code } } deleteUser(login: \"deleted\") { refusals { code } }
               left: updateUser(input: {login: \"left\", groups: []}) { refusals { code } } }",
            json!({}),
        )
        .await;
    assert!(!changed.to_string().contains("code"), "{changed}");
    world.admin(rights, json!({"version": 3, "read": false})).await;
    worker.claim(&id).await;
    for (one, code) in running.iter_mut().zip(["UNAUTHENTICATED", "UNAUTHENTICATED", "NOT_FOUND", "NOT_FOUND"]) {
        one.ends_with(code).await;
    }
}
