//! A fleet, or a single process, with a practice node, two hooks and a deployment that is about to be updated.

use std::time::Duration;

use engine::{
    db::Db,
    ids::{RunId, WorkerId},
    journal::{Event, Kind, Status},
    runs::Loaded,
};
use entities::worker;
use sandbox::{BundleSpec, Call, RunningNode, sample_bundle};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};
use tests::{Fleet, FleetBuilder, Size, Worker, history, practice, until};

use super::hook::Hook;

/// For whatever does not depend on a lease.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);
/// What a killed hook may take to end: its supervisor hears of it at once.
pub(super) const AT_ONCE: Duration = Duration::from_secs(2);

const LEASE: Duration = Duration::from_millis(2_500);
const HEARTBEAT: Duration = Duration::from_millis(400);
/// Hooks end so long after their worker was last heard of.
pub(super) const GRACE: Duration = Duration::from_millis(1_600);
const SWEEP: Duration = Duration::from_millis(300);
/// The node settles in this time: a call that was lost is over then.
const SETTLE: Duration = Duration::from_millis(2_000);

/// The steps of its updates.
pub(super) const STEPS: [&str; 8] = [
    "check_policy",
    "pre_hooks/1",
    "validate_remap",
    "push_bundle",
    "activate",
    "enforce_run_as",
    "verify",
    "post_hooks/1",
];

pub(super) struct Scene {
    pub(super) fleet: Fleet,
    pub(super) node: RunningNode,
    pub(super) db: Db,
    pub(super) pre: Hook,
    pub(super) post: Hook,
}

/// Processes whose leases lapse soon; without workers yet.
pub(super) fn soon(size: Size) -> FleetBuilder {
    Fleet::of(size)
        .workers(0)
        .set("SLIPWAY_WORKER_LEASE_LEASE_MS", LEASE.as_millis())
        .set("SLIPWAY_WORKER_LEASE_HEARTBEAT_MS", HEARTBEAT.as_millis())
        .set("SLIPWAY_WORKER_LEASE_HOOK_GRACE_MS", GRACE.as_millis())
        .set("SLIPWAY_WORKER_SWEEP_MS", SWEEP.as_millis())
}

impl Scene {
    /// All but the update. `post` is what an interrupted post-deployment hook does.
    pub(super) async fn new(builder: FleetBuilder, post: Option<&str>) -> Self {
        let node = practice::node().await;
        let fleet = builder.start().await;
        let folder = fleet.scratch().path();
        let db = fleet.db().await;
        let scene = Self { pre: Hook::new(folder, "pre"), post: Hook::new(folder, "post"), fleet, node, db };
        scene.furnish(post).await;
        scene
    }

    async fn furnish(&self, post: Option<&str>) {
        let settings = json!({
            "nodeUrl": self.node.url(),
            "connectionRemapping": [
                { "source": "sql-dev", "target": "sql-prod" }, { "source": "files-dev", "target": "files-prod" },
            ],
            "permissionsPropagation": "LIMITED",
            "deployAsUser": "deployer", "runAsScenarios": "runner", "runAsWebapps": "runner",
            "settleMs": SETTLE.as_millis() as u64,
        });
        let input = json!({ "id": "test", "stage": "Test", "adminKey": practice::NODE_KEY, "settings": settings });
        self.mutate(
            "mutation ($input: CreateInfrastructureInput!) { it: createInfrastructure(input: $input) { refusals { code message } } }",
            json!({ "input": input }),
        )
        .await;
        for (phase, hook, on_interrupt) in [("PRE", &self.pre, None), ("POST", &self.post, post)] {
            let seen = self.fleet.client.graphql("{ infrastructure(id: \"test\") { version } }", json!({})).await;
            self.mutate(
                "mutation ($phase: HookPhase!, $hooks: [HookInput!]!, $version: Long!) {
                   it: setHooks(infrastructureId: \"test\", phase: $phase, hooks: $hooks, expectedVersion: $version) {
                     refusals { code message } } }",
                json!({
                    "phase": phase, "hooks": hook.input(on_interrupt), "version": seen["infrastructure"]["version"],
                }),
            )
            .await;
        }
        let mut bundle = BundleSpec::new("CHURN", "v1");
        // Whom the node does not have is warned of, and the end is to be SUCCEEDED.
        bundle.permissions.retain(|permission| permission.get("user").is_none());
        self.fleet.client.upload(sample_bundle(&bundle)).await;
        let settings = json!({ "scenarios": [{ "id": "DAILY", "on": true }], "localVariables": { "region": "eu" } });
        let input = json!({
            "id": "churn", "projectKey": "CHURN", "infrastructureId": "test", "bundleId": "v1", "settings": settings,
        });
        self.mutate(
            "mutation ($input: CreateDeploymentInput!) { it: createDeployment(input: $input) { refusals { code message } } }",
            json!({ "input": input }),
        )
        .await;
    }

    async fn mutate(&self, document: &str, variables: Value) -> Value {
        let mut data = self.fleet.client.graphql(document, variables).await;
        assert_eq!(data["it"]["refusals"], json!([]), "{document}");
        data["it"].take()
    }

    /// Asks for the update.
    pub(super) async fn request(&self, idempotency_key: Option<&str>) -> RunId {
        let document = "mutation ($key: String) {
          it: startUpdate(deploymentId: \"churn\", idempotencyKey: $key) { update { id } refusals { code message } } }";
        let started = self.mutate(document, json!({ "key": idempotency_key })).await;
        started["update"]["id"].as_str().expect("an id").parse().expect("a number")
    }

    /// Changes the local variables of the deployment: the next update writes them.
    pub(super) async fn move_to(&self, region: &str) {
        let seen = self.fleet.client.graphql("{ deployment(id: \"churn\") { version } }", json!({})).await;
        let settings = json!({ "localVariables": { "region": region } });
        let input = json!({ "id": "churn", "expectedVersion": seen["deployment"]["version"], "settings": settings });
        self.mutate(
            "mutation ($input: UpdateDeploymentSettingsInput!) {
               it: updateDeploymentSettings(input: $input) { refusals { code message } } }",
            json!({ "input": input }),
        )
        .await;
    }

    pub(super) async fn start_workers(&mut self, count: usize) {
        for _ in 0..count {
            self.fleet.start_worker().await;
        }
    }

    /// Who is at this step of the run: the worker's place among the fleet's, and its row.
    pub(super) async fn holder(&self, run: RunId, step: &str) -> (usize, worker::Model) {
        let inside = |loaded: &Loaded| {
            let under_way = loaded.state.under_way().map(|(step, _)| &loaded.state.spec.plan.steps[step].name);
            under_way.is_some_and(|name| name == step) && loaded.row.worker_id.is_some()
        };
        let loaded = history::until_run(&self.db, run, &format!("step {step}"), PATIENCE, inside).await;
        let id = loaded.row.worker_id.expect("a worker");
        let row = worker::Entity::find_by_id(id).one(&self.db_pool()).await.unwrap().expect("a worker's row");
        let number: usize = row.name.strip_prefix("worker-").expect("the name that it was given").parse().unwrap();
        (number - 1, row)
    }

    pub(super) fn worker(&self, place: usize) -> &Worker {
        &self.fleet.workers[place]
    }

    /// The row of this process's new life, after it lost `before`.
    pub(super) async fn registered_anew(&self, before: &worker::Model) -> WorkerId {
        let row = until("the process registers anew", PATIENCE, || async {
            let rows = worker::Entity::find().filter(worker::Column::Name.eq(&before.name));
            let rows = rows.all(&self.db_pool()).await.unwrap();
            let now = self.db.now().await.unwrap();
            rows.into_iter().find(|row| row.id != before.id && row.ended_at.is_none() && row.lease_until > now)
        })
        .await;
        WorkerId(row.id)
    }

    /// Waits until somebody has the run under this epoch, or had it.
    pub(super) async fn taken_over(&self, run: RunId, epoch: i64) {
        history::until_run(&self.db, run, "a takeover", PATIENCE, |loaded| loaded.row.epoch >= epoch).await;
    }

    /// Waits for its end, which must be this one.
    pub(super) async fn ends(&self, run: RunId, status: Status) -> Vec<Event> {
        let loaded = history::until_over(&self.db, run, PATIENCE).await;
        let journal = history::journal(&self.db, run).await;
        assert_eq!(loaded.state.status(), status, "{}\n{}", history::tell(&journal), self.fleet.logs());
        journal
    }

    /// What asked the node to do something.
    pub(super) fn effects(&self) -> Vec<Call> {
        self.node.calls().into_iter().filter(|call| call.method != "GET").collect()
    }

    fn db_pool(&self) -> sea_orm::DatabaseConnection {
        self.db.pool().clone()
    }
}

/// The workers that had the run, in order.
pub(super) fn holders(journal: &[Event]) -> Vec<WorkerId> {
    let claimed = |event: &Event| match event.kind {
        Kind::Claimed { worker, .. } => Some(worker),
        _ => None,
    };
    journal.iter().filter_map(claimed).collect()
}
