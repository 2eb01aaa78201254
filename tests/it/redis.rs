//! Redis goes away, forgets, comes back: nothing is lost, nothing is done twice.
#![expect(clippy::unwrap_used, reason = "tests")]

mod shapes;
mod tls;

use std::time::{Duration, Instant};

use engine::journal::{Kind, Status};
use sandbox::{Fault, FaultHandle, FaultKind, RunningNode, When};
use serde_json::Value;
use tests::{Fleet, FleetBuilder, PATIENCE, Size, client, history, in_time, practice, until_true};

/// Far longer than a bell needs: who finds a run in less than this heard it.
const SWEEP: Duration = Duration::from_secs(20);

struct Scene {
    fleet: Fleet,
    node: RunningNode,
}

impl Scene {
    /// Deployments `one`, `two`, … of bundle v1.
    async fn new(sweep: Duration, deployments: &[&str]) -> Self {
        let builder = Fleet::of(Size::Fleet).private_redis().set("SLIPWAY_WORKER_SWEEP_MS", sweep.as_millis());
        Self::of(builder, deployments).await
    }

    async fn of(builder: FleetBuilder, deployments: &[&str]) -> Self {
        let (fleet, node) = (builder.start().await, practice::node().await);
        fleet.client.deployments(&node, deployments).await;
        Self { fleet, node }
    }

    /// Each activation waits until it is let go.
    fn hold(&self) -> FaultHandle {
        let path = "/projects/*/bundles/imported/*/actions/activate";
        self.node.arm(Fault::on("POST", path, FaultKind::Hold { when: When::After }).for_ever()).unwrap()
    }

    async fn queue_of(&self, port: u16) -> Value {
        let answer = client::http().get(format!("http://127.0.0.1:{port}/readyz")).send().await.unwrap();
        assert!(answer.status().is_success(), "Redis is no reason to be unready: {}", answer.status());
        answer.json::<Value>().await.unwrap()["checks"]["queue"].take()
    }

    /// Waits until API and workers say this of the queue.
    async fn until_queue(&self, word: &str) {
        let api = self.fleet.client.url().rsplit(':').next().unwrap().parse().unwrap();
        for port in self.fleet.workers.iter().map(|worker| worker.port).chain([api]) {
            until_true(&format!("\"{word}\" at {port}"), PATIENCE, || async { self.queue_of(port).await == word })
                .await;
        }
    }

    /// It ended well, and nothing of it was done twice.
    async fn ends_once(&self, update: &str, key: &str) {
        let db = self.fleet.db().await;
        let run = update.parse().unwrap();
        let ended = history::until_over(&db, run, PATIENCE).await;
        let journal = history::journal(&db, run).await;
        let told = history::tell(&journal);
        assert_eq!(ended.state.status(), Status::Succeeded, "{told}\n{}", self.fleet.logs());
        let claims = journal.iter().filter(|event| matches!(event.kind, Kind::Claimed { .. })).count();
        let begun = journal.iter().filter(|event| event.kind == Kind::StepStarted).count();
        assert_eq!((claims, begun), (1, 6), "{told}");
        for effect in ["actions/importFromStream", "v1/actions/activate"] {
            let path = format!("/projects/{key}/bundles/imported/{effect}");
            assert_eq!(self.node.calls().iter().filter(|call| call.path == path).count(), 1, "{path}");
        }
    }

    /// Both hear the bell: a new update starts at once, whoever takes it, and its end is heard by who follows.
    async fn bell_works(&self, deployment: &str) {
        let asked = Instant::now();
        let update = self.fleet.client.start(deployment).await;
        let document = format!("subscription {{ updateEvents(updateId: \"{update}\") {{ kind }} }}");
        let events = self.fleet.client.subscribe(&document).await.rest().await;
        assert_eq!(events.last().unwrap()["kind"], "Finished");
        assert!(asked.elapsed() < SWEEP / 2, "only a sweep found it: {:?}", asked.elapsed());
        self.ends_once(&update, &deployment.to_uppercase()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn away_when_asked() {
    let mut scene = Scene::new(Duration::from_millis(500), &["one", "two"]).await;
    scene.until_queue("ok").await;
    scene.fleet.redis.as_mut().unwrap().stop().await;
    // Accepted all the same; a sweep finds it.
    let update = scene.fleet.client.start("one").await;
    scene.ends_once(&update, "ONE").await;
    scene.until_queue("degraded: sweeping").await;
    scene.fleet.redis.as_mut().unwrap().start().await;
    scene.until_queue("ok").await;
    let update = scene.fleet.client.start("two").await;
    scene.ends_once(&update, "TWO").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hurt_while_updates_run() {
    let mut scene = Scene::new(SWEEP, &["stop", "flush", "cut", "empty", "after"]).await;
    let hurts = ["stop", "flush", "cut", "empty"];
    for hurt in hurts {
        let held = scene.hold();
        let update = scene.fleet.client.start(hurt).await;
        in_time("an activation", held.reached()).await;
        let redis = scene.fleet.redis.as_mut().unwrap();
        match hurt {
            "stop" => redis.stop().await,
            "flush" => redis.flush().await,
            "cut" => redis.cut_clients().await,
            "empty" => redis.restart_empty().await,
            other => panic!("{other}"),
        }
        held.disarm();
        scene.ends_once(&update, &hurt.to_uppercase()).await;
        if hurt == "stop" {
            scene.fleet.redis.as_mut().unwrap().start().await;
        }
        scene.until_queue("ok").await;
    }
    scene.bell_works("after").await;
}
