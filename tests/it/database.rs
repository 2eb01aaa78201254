//! PostgreSQL stops, crashes, goes read-only, loses connections in the middle of a commit: requests fail clearly, hooks end, nothing is done
//! twice, and everything goes on when it is back.
#![expect(clippy::unwrap_used, reason = "tests")]

mod commits;
mod migrate;

use std::time::Duration;

use engine::journal::{Event, Kind, Status};
use sandbox::{Fault, FaultKind, RunningNode, When};
use serde_json::{Value, json};
use tests::{
    Fleet, FleetBuilder, PATIENCE, Size, client, history, in_time,
    mortal::{End, Mortal},
    practice, until, until_true,
};

use crate::kill::hook::Hook;

/// Hooks end so long after their worker was last heard of, here; a little more for a busy machine.
const HOOKS_END: Duration = Duration::from_millis(1_200 + 2_000);

struct Scene {
    fleet: Fleet,
    node: RunningNode,
}

impl Scene {
    async fn new(builder: FleetBuilder, deployments: &[&str]) -> Self {
        let (fleet, node) = (builder.start().await, practice::node().await);
        fleet.client.deployments(&node, deployments).await;
        Self { fleet, node }
    }

    /// It ended well, and the node was asked for each effect once. Its journal.
    async fn ends_once(&self, update: &str, key: &str) -> Vec<Event> {
        let db = self.fleet.db().await;
        let run = update.parse().unwrap();
        let ended = history::until_over(&db, run, PATIENCE).await;
        let journal = history::journal(&db, run).await;
        let told = history::tell(&journal);
        assert_eq!(ended.state.status(), Status::Succeeded, "{told}\n{}", self.fleet.logs());
        for (at, event) in journal.iter().enumerate() {
            assert_eq!(event.seq, at as i64 + 1, "a gap:\n{told}");
        }
        let mut done = std::collections::BTreeSet::new();
        for event in journal.iter().filter(|event| matches!(event.kind, Kind::StepSucceeded { .. })) {
            assert!(done.insert(event.step), "a step was recorded twice:\n{told}");
        }
        for effect in ["actions/importFromStream", "v1/actions/activate"] {
            let path = format!("/projects/{key}/bundles/imported/{effect}");
            assert_eq!(self.node.calls().iter().filter(|call| call.path == path).count(), 1, "{path}\n{told}");
        }
        journal
    }

    fn ports(&self) -> Vec<u16> {
        let api = self.fleet.client.url().rsplit(':').next().unwrap().parse().unwrap();
        self.fleet.workers.iter().map(|worker| worker.port).chain([api]).collect()
    }

    async fn until_ready(&self, status: u16) {
        for port in self.ports() {
            until_true(&format!("{status} at {port}"), PATIENCE, || async {
                let answer = client::http().get(format!("http://127.0.0.1:{port}/readyz")).send().await.unwrap();
                answer.status() == status
            })
            .await;
        }
    }

    /// The code of a refused request, wherever it stands, and its sentence.
    async fn refused(&self, document: &str) -> (String, String) {
        let (_, answer) = self.fleet.client.raw(document, json!({})).await.unwrap();
        let error = &answer["errors"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&error["extensions"]["code"]), text(&error["message"]))
    }

    /// Requests fail with a code and a sentence of ours.
    async fn fails_clearly(&self, document: &str) {
        let (code, message) = in_time("an answer", self.refused(document)).await;
        assert_eq!(code, "DATABASE_UNAVAILABLE", "{message}");
        assert!(message.ends_with('.') && message.contains("The database does not answer"), "{message}");
        for word in ["sql", "pool", "transaction", "connection", "postgres", "execute"] {
            assert!(!message.to_lowercase().contains(word), "{message}");
        }
    }
}

fn builder(url: &str) -> FleetBuilder {
    Fleet::of(Size::Fleet).short_lease().set("SLIPWAY_DATABASE_URL", url)
}

const START: &str = "mutation { startUpdate(deploymentId: \"other\") { update { id } refusals { code } } }";

#[tokio::test(flavor = "multi_thread")]
async fn away_for_longer_than_a_lease() {
    let mut postgres = Mortal::new().await;
    let outages = ["fast", "immediate", "read-only"];
    let scene = Scene::new(builder(&postgres.url()), &["fast", "immediate", "read-only", "other"]).await;
    for (number, outage) in outages.into_iter().enumerate() {
        let hook = Hook::new(scene.fleet.scratch().path(), outage);
        scene.fleet.client.set_hooks("production", "PRE", hook.input(None)).await;
        let update = scene.fleet.client.start(outage).await;
        let first = hook.begun(1).await;
        match outage {
            "fast" => postgres.stop(End::Fast).await,
            "immediate" => postgres.stop(End::Immediate).await,
            _ => postgres.read_only(true).await,
        }
        first.gone(HOOKS_END).await;
        scene.until_ready(503).await;
        scene.fails_clearly(START).await;
        match outage {
            "read-only" => postgres.read_only(false).await,
            _ => assert!(postgres.start().await),
        }
        scene.until_ready(200).await;
        let again = hook.begun(2).await;
        assert_eq!(again.key, first.key, "one update, one key");
        hook.let_go();
        let journal = scene.ends_once(&update, &outage.to_uppercase()).await;
        // Once before it and once after; a machine too busy to renew so short a lease makes it more, one after the other.
        let granted = journal.iter().filter(|event| matches!(event.kind, Kind::SlotGranted { .. })).count();
        let effects = hook.effects();
        let attempts: Vec<_> = effects.iter().map(|effect| effect.attempt).collect();
        let told = || format!("{attempts:?}\n{}", history::tell(&journal));
        assert!((2..=granted).contains(&attempts.len()), "as often as it had a slot: {}", told());
        assert!(attempts.is_sorted_by(|one, next| one < next), "{}", told());
        assert!(effects.iter().all(|effect| effect.key == first.key), "{}", told());
        // What was refused was not done.
        let others =
            scene.fleet.client.ask("{ deployment(id: \"other\") { updates { nodes { id } } } }", json!({})).await;
        assert_eq!(others["updates"]["nodes"], json!([]), "outage {number}");
    }
    scene.fleet.client.set_hooks("production", "PRE", json!([])).await;
    scene.fleet.client.run("other", "SUCCEEDED").await;
    for worker in &scene.fleet.workers {
        assert_eq!(worker.process().exit_code(), None, "a worker died of it");
    }
}

/// Away for a moment, while a node works: the lease outlives it. What a worker could not write then, it writes, or gives the run back.
#[tokio::test(flavor = "multi_thread")]
async fn away_for_a_moment() {
    let mut postgres = Mortal::new().await;
    // A server takes its time to stop on a busy machine: only a lease that is longer than that outlives it.
    let lease = 4 * u64::try_from(PATIENCE.as_millis()).unwrap();
    let builder = Fleet::of(Size::Fleet)
        .set("SLIPWAY_DATABASE_URL", postgres.url())
        .set("SLIPWAY_WORKER_LEASE_LEASE_MS", lease)
        .set("SLIPWAY_WORKER_LEASE_HOOK_GRACE_MS", lease - 1);
    let outages = ["fast", "immediate", "read-only"];
    let scene = Scene::new(builder, &outages).await;
    for outage in outages {
        let path = "/projects/*/bundles/imported/*/actions/activate";
        let held = scene.node.arm(Fault::on("POST", path, FaultKind::Hold { when: When::After }).for_ever()).unwrap();
        let update = scene.fleet.client.start(outage).await;
        in_time("an activation", held.reached()).await;
        match outage {
            "fast" => postgres.stop(End::Fast).await,
            "immediate" => postgres.stop(End::Immediate).await,
            _ => postgres.read_only(true).await,
        }
        let said = || scene.fleet.logs().matches("journal").count();
        let before = said();
        // The node's answer comes while nobody can write it down.
        held.disarm();
        until("a write that fails", PATIENCE, || async { (said() > before).then_some(()) }).await;
        match outage {
            "read-only" => postgres.read_only(false).await,
            _ => assert!(postgres.start().await),
        }
        scene.ends_once(&update, &outage.to_uppercase()).await;
    }
}
