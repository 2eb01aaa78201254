//! Two hundred updates whose hooks all want to run, in real processes. Who watches is no part of Slipway: the hooks write down when they began
//! and ended, and a trigger of the database writes down in which order slots were given.

use std::{fs, path::Path, time::Duration};

use engine::db::Db;
use futures_util::{StreamExt, stream};
use sandbox::BundleSpec;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;
use tests::{Fleet, PATIENCE, Size, practice, until_true};

const CONTENDERS: usize = 200;
const LIMIT: usize = 3;

/// Says when it began, works once the gate is open, says when it ended, and stops the update: nothing else is to be tested.
fn hook(folder: &Path) -> String {
    format!(
        r#"
import os, time

FOLDER = {folder:?}

def say(deployment_id, what):
    name = os.path.join(FOLDER, deployment_id + '.' + what)
    with open(name + '.part', 'w') as file:
        file.write(str(time.clock_gettime_ns(time.CLOCK_BOOTTIME)))
    os.rename(name + '.part', name)

def execute(deployment_id, **kwargs):
    say(deployment_id, 'start')
    while not os.path.exists(os.path.join(FOLDER, 'gate')):
        time.sleep(0.01)
    time.sleep(0.02)
    say(deployment_id, 'end')
    return HookResult.error('done here')
"#
    )
}

/// Lets the database write down each grant, under the lock of the pool.
async fn watch_grants(db: &Db) {
    let statements: &[&str] = match db.pool().get_database_backend() {
        DbBackend::Postgres => &[
            "CREATE TABLE grants_seen (place BIGSERIAL PRIMARY KEY, ticket BIGINT NOT NULL)",
            "CREATE FUNCTION see_grant() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN INSERT INTO grants_seen (ticket) VALUES (NEW.ticket); RETURN NEW; END'",
            "CREATE TRIGGER see_grant AFTER INSERT ON pool_holder FOR EACH ROW EXECUTE FUNCTION see_grant()",
        ],
        _ => &[
            "CREATE TABLE grants_seen (place INTEGER PRIMARY KEY AUTOINCREMENT, ticket BIGINT NOT NULL)",
            "CREATE TRIGGER see_grant AFTER INSERT ON pool_holder
               BEGIN INSERT INTO grants_seen (ticket) VALUES (NEW.ticket); END",
        ],
    };
    for statement in statements {
        db.pool().execute_unprepared(statement).await.unwrap();
    }
}

async fn grants_seen(db: &Db) -> Vec<i64> {
    let backend = db.pool().get_database_backend();
    let statement = Statement::from_string(backend, "SELECT ticket FROM grants_seen ORDER BY place");
    let rows = db.pool().query_all_raw(statement).await.unwrap();
    rows.iter().map(|row| row.try_get("", "ticket").unwrap()).collect()
}

fn read(folder: &Path, deployment: &str, what: &str) -> i64 {
    fs::read_to_string(folder.join(format!("{deployment}.{what}"))).unwrap().parse().unwrap()
}

async fn contend(size: Size, workers: usize) {
    let fleet = Fleet::of(size).workers(workers).set("SLIPWAY_WORKER_SEATS", 256).start().await;
    let folder = fleet.scratch().path().join("hooks");
    fs::create_dir(&folder).unwrap();
    let db = fleet.db().await;
    watch_grants(&db).await;
    let client = &fleet.client;
    let node = practice::node().await;
    client.infrastructure("test", &node, json!({ "preHookWaitMs": 900_000 })).await;
    client.set_hooks("test", "PRE", json!([{ "name": "contend", "code": hook(&folder), "deadlineMs": 600_000 }])).await;
    client.bundle(&BundleSpec::new("CHURN", "v1")).await;

    let updates: Vec<(String, String)> = stream::iter(0..CONTENDERS)
        .map(|number| async move {
            let deployment = format!("churn-{number}");
            let on_node = format!("CHURN_{number}");
            client.deployment(&deployment, "test", ("CHURN", "v1"), &on_node, json!({})).await;
            let update = client.start(&deployment).await;
            (deployment, update)
        })
        .buffer_unordered(4)
        .collect()
        .await;

    // Everybody is in line before the first one ends.
    let patience = PATIENCE * 3;
    until_true("a line of all others", patience, || async {
        let (_, holders, waiters) = tests::history::pool(&db, "hooks").await;
        assert!(holders.len() <= LIMIT);
        waiters.len() == CONTENDERS - LIMIT
    })
    .await;
    fs::write(folder.join("gate"), "").unwrap();
    for (_, update) in &updates {
        let run = update.parse().unwrap();
        let ended = tests::history::until_over(&db, run, patience).await;
        let code = ended.state.stopped.map(|failure| failure.code.as_str().to_owned());
        assert_eq!(code.as_deref(), Some("HOOK_ERROR"), "nobody times out");
    }

    // By the hooks' own clock: never more than three.
    let mut edges: Vec<(i64, i32)> = updates
        .iter()
        .flat_map(|(deployment, _)| [(read(&folder, deployment, "start"), 1), (read(&folder, deployment, "end"), -1)])
        .collect();
    edges.sort_unstable();
    let mut now = 0;
    let most = edges.iter().map(|(_, change)| {
        now += change;
        now
    });
    assert_eq!(most.max(), Some(LIMIT as i32), "all slots are used, and no more");
    // By the database: each once, in order of tickets.
    let grants = grants_seen(&db).await;
    assert_eq!(grants, (1..=CONTENDERS as i64).collect::<Vec<_>>());
    // Nothing is left.
    until_true("an empty pool", Duration::from_secs(10), || async {
        let pool = client.graphql("{ hookPool { liveHolders waiting grants timeouts } }", json!({})).await;
        pool["hookPool"] == json!({ "liveHolders": 0, "waiting": 0, "grants": CONTENDERS, "timeouts": 0 })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_over_four_processes_on_postgres() {
    contend(Size::Fleet, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_in_one_process_on_sqlite() {
    contend(Size::Embedded, 1).await;
}
