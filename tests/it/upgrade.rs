//! Two versions side by side: plans that some workers do not know yet, and a schema that is one step ahead.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::Arc};

use async_trait::async_trait;
use engine::{
    bell::Bell,
    db::sql_with,
    failure::{StepOutcome, StepResult},
    journal::Status,
    plan::{OnFailure, PLAN_VERSION, Plan, PlannedStep, StepPolicy},
    queue::Queue,
    retry::RetryPolicy,
    runs::{self, RunsError},
    slots::{Demand, Slots},
    spec::RunSpec,
};
use sandbox::BundleSpec;
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::json;
use tests::{Base, Fleet, PATIENCE, Size, Store, history, practice, rig::Rig, until_true};
use tokio_util::sync::CancellationToken;
use worker::{Lost, Worker, WorkerSettings, context::Context, doer::Doer};

/// Does every step at once, of the plans that it knows.
struct Knows(RangeInclusive<u32>);

#[async_trait]
impl Doer for Knows {
    async fn perform(&self, _: &Context, _: &PlannedStep) -> StepResult {
        Ok(StepOutcome::done())
    }

    async fn hook(&self, _: &Context, _: &PlannedStep, _: &Slots, _: &Demand, _: CancellationToken) -> StepResult {
        Ok(StepOutcome::done())
    }

    async fn leave_safe(&self, _: &Context) -> Result<Option<String>, Lost> {
        Ok(None)
    }

    fn is_in_flight(&self, _: &Context) -> bool {
        false
    }

    fn lacks(&self, _: &PlannedStep) -> Option<String> {
        None
    }

    fn plan_versions(&self) -> RangeInclusive<u32> {
        self.0.clone()
    }

    async fn forget_old(&self) {}
}

fn spec(version: u32) -> RunSpec {
    let step = PlannedStep {
        name: "verify".to_owned(),
        kind: "verify".to_owned(),
        policy: StepPolicy { retry: RetryPolicy::NEVER, deadline_ms: 10_000 },
        params: json!(null),
        restorable: false,
        only_after_failure: false,
        slot: None,
        on_interrupt: Default::default(),
        failure_warns: false,
        lane: None,
    };
    let plan = Plan { version, steps: vec![step], on_failure: OnFailure::Leave, quorum: None };
    RunSpec { plan, requester: "ada".to_owned(), body: json!({}), inherited: None }
}

/// A run each for deployments of their own, which nobody was told of.
async fn request(base: &Base, prefix: &str, version: u32, count: usize) -> Vec<engine::ids::RunId> {
    let tx = base.db.begin().await.unwrap();
    let mut ids = Vec::new();
    for number in 0..count {
        let id = format!("{prefix}-{number}");
        let sql = format!(
            "INSERT INTO deployment (id, project_key, infrastructure_id, bundle_id, deployed_project_key, settings, version, last_run_no, created_at, created_by, \
             updated_at, updated_by) VALUES ('{id}', 'P', 'i', 'v', '{id}', '{{}}', 1, 0, 0, 'x', 0, 'x')"
        );
        tx.execute_unprepared(&sql).await.unwrap();
        ids.push(runs::request(&tx, &id, &spec(version)).await.unwrap().run);
    }
    tx.commit().await.unwrap();
    ids
}

async fn work(base: &Base, versions: RangeInclusive<u32>) -> Worker {
    let settings = WorkerSettings { sweep_ms: 100, ..Rig::settings() };
    let (store, doer) = (base.open().await.into(), Arc::new(Knows(versions)));
    let worker = Worker::made_of(store, Queue::embedded(), Bell::embedded(), settings, doer).await.unwrap();
    let working = worker.clone();
    tokio::spawn(async move { working.run().await });
    worker
}

/// More of them than one sweep rings, and all older than what the old workers know.
async fn plans(store: Store) {
    const NEWER: usize = 1_100;
    let base = Base::new(store).await;
    let newer = request(&base, "newer", PLAN_VERSION + 1, NEWER).await;
    // One of them can't even be read by the old version.
    let odd = newer[7];
    let tx = base.db.begin().await.unwrap();
    let sql = "UPDATE run_event SET data = REPLACE(data, '\"LEAVE\"', '\"ASK\"') WHERE run_id = $1";
    tx.execute_raw(sql_with(&*tx, sql, [odd.0.into()])).await.unwrap();
    tx.commit().await.unwrap();
    let loaded = runs::load(base.db.pool(), odd).await;
    let newer_by_one = u64::from(PLAN_VERSION + 1);
    assert!(matches!(loaded, Err(RunsError::Newer { version }) if version == newer_by_one), "{loaded:?}");
    let known = request(&base, "known", PLAN_VERSION, 20).await;

    let old = work(&base, PLAN_VERSION..=PLAN_VERSION).await;
    for run in &known {
        assert_eq!(history::until_over(&base.db, *run, PATIENCE).await.state.status(), Status::Succeeded);
    }
    let untouched = || async {
        let sql =
            "SELECT COUNT(*) AS n FROM run WHERE deployment_id LIKE 'newer-%' AND epoch = 0 AND status = 'QUEUED'";
        let row = base.db.pool().query_one_raw(sql_with(base.db.pool(), sql, [])).await.unwrap().unwrap();
        row.try_get::<i64>("", "n").unwrap()
    };
    assert_eq!(untouched().await, NEWER as i64, "old workers leave them alone");

    // A worker that knows both comes: it finds them beside the old one.
    let new = work(&base, PLAN_VERSION..=PLAN_VERSION + 1).await;
    until_true("all but the odd one have ended", PATIENCE * 2, || async { untouched().await == 1 }).await;
    let mut holders = BTreeSet::new();
    for run in [newer[0], newer[NEWER - 1]] {
        let ended = history::until_over(&base.db, run, PATIENCE).await;
        assert_eq!(ended.state.status(), Status::Succeeded);
        let journal = history::journal(&base.db, run).await;
        holders.extend(journal.iter().filter_map(|event| match event.kind {
            engine::journal::Kind::Claimed { worker, .. } => Some(worker),
            _ => None,
        }));
    }
    assert_eq!(holders, new.state().worker.into_iter().collect());
    old.stop_now();
    new.stop_now();
}

#[tokio::test(flavor = "multi_thread")]
async fn old_workers_leave_newer_plans_to_those_who_know_them_on_postgres() {
    plans(Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_workers_leave_newer_plans_to_those_who_know_them_on_sqlite() {
    plans(Store::Sqlite).await;
}

/// The schema goes one step ahead under running processes, as the next version's `migrate` does it: columns that may be empty, and a new table.
async fn schema(size: Size) {
    let mut fleet = Fleet::of(size).workers(2).start().await;
    let node = practice::node().await;
    let api = fleet.client.clone();
    api.infrastructure("test", &node, json!({})).await;
    let code = "def execute(**kwargs):\n    print('said')\n    return HookResult.success('')\n";
    api.set_hooks("test", "PRE", json!([{ "name": "says", "code": code }])).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    api.deployment("churn", "test", ("CHURN", "v1"), "CHURN", json!({})).await;
    // Statements are prepared by now, on more than one connection.
    for _ in 0..3 {
        look(&api, api.run("churn", "SUCCEEDED").await["id"].as_str().unwrap()).await;
    }

    let db = fleet.db().await;
    let sqlite = db.pool().get_database_backend() == DbBackend::Sqlite;
    let tables = if sqlite {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'seaql_%'"
    } else {
        "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'seaql_%'"
    };
    let tx = db.begin().await.unwrap();
    for row in tx.query_all_raw(sql_with(&*tx, tables, [])).await.unwrap() {
        let table: String = row.try_get("", "name").unwrap();
        tx.execute_unprepared(&format!("ALTER TABLE {table} ADD COLUMN of_the_next_version TEXT")).await.unwrap();
    }
    tx.execute_unprepared("CREATE TABLE of_the_next_version (id BIGINT PRIMARY KEY)").await.unwrap();
    let applied = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_next', 0)";
    tx.execute_unprepared(applied).await.unwrap();
    tx.commit().await.unwrap();

    for _ in 0..4 {
        look(&api, api.run("churn", "SUCCEEDED").await["id"].as_str().unwrap()).await;
    }
    // This version's `migrate` leaves it alone and says so; its processes start on it.
    if !sqlite {
        let migrated = fleet.run(&["migrate"]);
        let said = String::from_utf8(migrated.stdout).unwrap();
        assert!(
            migrated.status.success() && said.contains("later version") && said.contains("m20991231_000001_next"),
            "{said}"
        );
    } else {
        fleet.workers.pop();
    }
    fleet.start_worker().await;
    let api = fleet.client.clone();
    look(&api, api.run("churn", "SUCCEEDED").await["id"].as_str().unwrap()).await;
    let lost = fleet.logs().lines().filter(|line| line.contains("cached plan") || line.contains("ERROR")).count();
    assert_eq!(lost, 0, "{}", fleet.logs());
}

/// What people look at.
async fn look(api: &tests::Client, update: &str) {
    assert!(api.journal(update).await.len() > 10);
    assert!(api.lines(update).await.iter().any(|line| line["line"] == "said"));
    let page = api
        .graphql("{ updates { nodes { id status } } deployments { nodes { id latestUpdate { id } } } }", json!({}))
        .await;
    assert!(page["updates"]["nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_one_step_ahead_under_a_fleet() {
    schema(Size::Fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_one_step_ahead_under_one_process() {
    schema(Size::Embedded).await;
}

/// A database of something else, or of a history that is not ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_lacks_ours_is_refused() {
    let base = Base::new(Store::Postgres).await;
    base.db
        .pool()
        .execute_unprepared(
            "UPDATE seaql_migrations SET version = 'm20200101_000001_other' WHERE version LIKE '%_first'",
        )
        .await
        .unwrap();
    let refused = migration::migrate(base.db.pool()).await.unwrap_err().to_string();
    assert!(refused.contains("m20200101_000001_other"), "{refused}");
}
