//! Who goes on requesting, whatever happens, and keeps what was promised.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use engine::clock::now_micros;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    dice::Dice,
    scene::{BUNDLES, Deployment, Scene},
    settings::Settings,
    stage::Stage,
};
use crate::{
    client::{Client, Trouble},
    failure::LabError,
};

/// So long a request whose answer was lost is made again.
const PATIENCE: Duration = Duration::from_secs(90);
const AGAIN: Duration = Duration::from_millis(300);
/// One request in so many changes the deployment before, one is cancelled after.
const CHANGES: usize = 4;
const CANCELS: usize = 10;
/// The most requests that wait for their answer.
const WAITING: usize = 64;

/// What was promised.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// Requests that were made.
    pub(super) requested: u64,
    /// Run, deployment, and when the answer came.
    pub(super) accepted: Vec<(i64, String, i64)>,
    /// Answers that were lost, and asked for again.
    pub(super) lost_answers: u64,
    /// Nobody knows what became of these: no answer came in time.
    pub(super) unanswered: u64,
    /// Codes of refusals.
    pub(super) refused: BTreeMap<String, u64>,
    /// Run, and when the answer came.
    pub(super) cancels: Vec<(i64, i64)>,
}

/// The requester.
pub(super) struct Traffic {
    asker: Asker,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone)]
struct Asker {
    client: Client,
    deployments: Arc<Vec<Deployment>>,
    book: Arc<Mutex<Book>>,
    next: Arc<AtomicU64>,
}

impl Traffic {
    pub(super) fn start(stage: &Stage, scene: &Scene, settings: &Settings) -> Result<Self, LabError> {
        let asker = Asker {
            client: stage.client.clone(),
            deployments: Arc::new(scene.deployments.clone()),
            book: Arc::default(),
            next: Arc::default(),
        };
        let traffic = Self { asker, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let (asker, stop, tasks) = (traffic.asker.clone(), traffic.stop.clone(), traffic.tasks.clone());
        let mut dice = Dice::new(settings.seed ^ 0x7261_6666);
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / settings.rate.clamp(0.01, 100.0)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        traffic.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                if tasks.len() > WAITING {
                    continue;
                }
                let place = dice.below(asker.deployments.len());
                let change = dice.one_in(CHANGES).then(|| (BUNDLES[dice.below(BUNDLES.len())], dice.below(1_000)));
                let cancel = dice.one_in(CANCELS).then(|| dice.within(50..2_500));
                let asker = asker.clone();
                tasks.spawn(async move { asker.one(place, change, cancel).await });
            }
        });
        Ok(traffic)
    }

    /// One request more, at once: the run, if it was accepted.
    pub(super) async fn request(&self, place: usize) -> Option<i64> {
        self.asker.request(place).await
    }

    /// The deployment that has this project on the node.
    pub(super) fn deployment_on(&self, project: &str) -> Option<&str> {
        let mut deployments = self.asker.deployments.iter();
        deployments.find(|deployment| deployment.on_node == project).map(|deployment| deployment.id.as_str())
    }

    /// Stops, and waits for all answers.
    pub(super) async fn stop(self) -> Book {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.asker.book().clone()
    }
}

impl Asker {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn one(&self, place: usize, change: Option<(&str, usize)>, cancel: Option<Duration>) {
        if let Some((bundle, region)) = change {
            self.change(place, bundle, region).await;
        }
        let Some(run) = self.request(place).await else { return };
        if let Some(after) = cancel {
            tokio::time::sleep(after).await;
            let document = "mutation($id: ID!) { cancelUpdate(id: $id) { update { id } refusals { code message } } }";
            if self.client.ask(document, json!({ "id": run.to_string() })).await.is_ok() {
                self.book().cancels.push((run, now_micros()));
            }
        }
    }

    /// Whether it was changed or not, the next run's spec says what is wanted.
    async fn change(&self, place: usize, bundle: &str, region: usize) {
        let id = &self.deployments[place % self.deployments.len()].id;
        let seen = self.client.ask("query($id: ID!) { deployment(id: $id) { version } }", json!({ "id": id })).await;
        let Ok(seen) = seen else { return };
        let settings = json!({ "scenarios": [{ "id": "DAILY", "on": true }], "localVariables": { "region": format!("r{region}") } });
        let input = json!({ "id": id, "expectedVersion": seen["version"], "bundleId": bundle, "settings": settings });
        let document = "mutation($input: UpdateDeploymentSettingsInput!) {
          updateDeploymentSettings(input: $input) { refusals { code message } } }";
        let _ = self.client.ask(document, json!({ "input": input })).await;
    }

    /// Asks for an update under a key of its own until there is an answer.
    async fn request(&self, place: usize) -> Option<i64> {
        let deployment = &self.deployments[place % self.deployments.len()].id;
        let key = format!("soak-{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.book().requested += 1;
        let end = Instant::now() + PATIENCE;
        loop {
            match start(&self.client, deployment, &key).await {
                Ok(run) => {
                    self.book().accepted.push((run, deployment.clone(), now_micros()));
                    return Some(run);
                }
                Err(Trouble::Refused { code, .. }) => {
                    *self.book().refused.entry(code).or_default() += 1;
                    return None;
                }
                Err(Trouble::Lost(_)) if Instant::now() < end => {
                    self.book().lost_answers += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(Trouble::Lost(_)) => {
                    self.book().unanswered += 1;
                    return None;
                }
            }
        }
    }
}

async fn start(client: &Client, deployment: &str, key: &str) -> Result<i64, Trouble> {
    let document = "mutation($id: ID!, $key: String!) {
      startUpdate(deploymentId: $id, idempotencyKey: $key) { update { id } refusals { code message } } }";
    let answer = client.ask(document, json!({ "id": deployment, "key": key })).await?;
    let id = answer["update"]["id"].as_str().and_then(|id| id.parse().ok());
    id.ok_or_else(|| Trouble::Lost(format!("an answer without an update: {answer}")))
}

/// What became of the last round.
#[derive(Clone, Debug, Default)]
pub(super) struct LastRound {
    /// The runs.
    pub(super) runs: Vec<(i64, String, i64)>,
    /// Why a deployment had none, or how one ended that should have succeeded.
    pub(super) failed: Vec<String>,
}

/// Each deployment once more, undisturbed: afterwards the node must be as these say.
pub(super) async fn last_round(stage: &Stage, scene: &Scene, book: &Book, patience: Duration) -> LastRound {
    let mut last = LastRound::default();
    for deployment in &scene.deployments {
        match start(&stage.client, &deployment.id, &format!("last-{}", book.requested)).await {
            Ok(run) => last.runs.push((run, deployment.id.clone(), now_micros())),
            Err(trouble) => last.failed.push(format!("{}: {}", deployment.id, LabError::from(trouble))),
        }
    }
    let end = Instant::now() + patience;
    for (run, deployment, _) in &last.runs {
        let status = loop {
            let document = "query($id: ID!) { update(id: $id) { status failure { code message } } }";
            let seen = stage.client.ask(document, json!({ "id": run.to_string() })).await.unwrap_or(Value::Null);
            let status = seen["status"].as_str().unwrap_or_default().to_owned();
            if matches!(status.as_str(), "SUCCEEDED" | "WARNING" | "FAILED" | "CANCELLED" | "STUCK")
                || Instant::now() > end
            {
                break if seen["failure"].is_null() { status } else { format!("{status} {}", seen["failure"]) };
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        if !matches!(status.as_str(), "SUCCEEDED" | "WARNING") {
            last.failed.push(format!("{deployment}: undisturbed, update {run} is {status}"));
        }
    }
    last
}
