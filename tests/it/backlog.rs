//! A long line of updates: what a look costs does not grow with it, and the queue does not fill with bells that wait already.

use std::sync::Arc;

use engine::{
    db::{Db, sql_with},
    ids::RunId,
    queue::MOST,
    runs::{
        due::{self, Place, WINDOW},
        figures,
    },
};
use lab::{load::backlog as load, soak};
use sandbox::{BundleSpec, Fault, FaultKind, When};
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::json;
use tests::{Base, Fleet, PATIENCE, Size, Store, client, history, in_time, practice, slipway, until, until_true};

/// Rows from `first` on: one run each for a deployment of its own, or all for one deployment; waiting, or ended.
async fn fill(db: &Db, first: i64, count: i64, one_deployment: bool, ended: bool) {
    let deployment = if one_deployment { "'one'" } else { "'d' || n" };
    let (status, end) = if ended { ("SUCCEEDED", "n") } else { ("QUEUED", "NULL") };
    let sql = format!(
        "WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {first} + {count})
INSERT INTO run (id, deployment_id, run_no, status, epoch, seq, attempt, requester, requested_at, ended_at)
SELECT n, {deployment}, n, '{status}', 0, 1, 0, 'ada', n * 1000, {end} FROM numbers"
    );
    let tx = db.begin().await.unwrap();
    tx.execute_unprepared(&sql).await.unwrap();
    tx.commit().await.unwrap();
    db.pool().execute_unprepared("ANALYZE").await.unwrap();
}

async fn explained(db: &Db) -> String {
    let mut sql = due::look_sql(db.pool().get_database_backend());
    for (value, text) in [("$1", "0"), ("$2", "0"), ("$3", &WINDOW.to_string()), ("$4", "1000")] {
        sql = sql.replace(value, text);
    }
    let sqlite = db.pool().get_database_backend() == DbBackend::Sqlite;
    let (explain, column) = if sqlite { ("EXPLAIN QUERY PLAN", "detail") } else { ("EXPLAIN", "QUERY PLAN") };
    let rows = db.pool().query_all_raw(sql_with(db.pool(), format!("{explain} {sql}"), [])).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("", column).unwrap()).collect::<Vec<_>>().join("\n")
}

async fn by_index(store: Store) {
    let base = Base::new(store).await;
    fill(&base.db, 1, 100_000, false, true).await;
    fill(&base.db, 100_001, 50_000, true, false).await;
    fill(&base.db, 150_001, 50_000, false, false).await;
    let plan = explained(&base.db).await;
    // What the statement itself made has other names. A scan without an index names none.
    let scans = plan.contains("Seq Scan on run ") || plan.lines().any(|line| line.trim() == "SCAN r");
    let (line, held) = (plan.matches("run_line").count(), plan.matches("run_held").count());
    assert!(!scans && (line, held) == (1, 1), "what has ended is not gone through: {plan}");

    // Look by look the whole line is seen, each run that can go on once, in order.
    let (mut found, mut place, mut looks) = (Vec::new(), Place::default(), 0);
    loop {
        let look = due::look(&base.db, place, 10_000).await.unwrap();
        looks += 1;
        found.extend(look.runs.iter().map(|(run, _)| run.0));
        let Some(to) = look.to else { break };
        assert!(to > place, "it goes on");
        place = to;
    }
    assert_eq!(found, [100_001].into_iter().chain(150_001..=200_000).collect::<Vec<i64>>());
    assert!((50..=60).contains(&looks), "{looks} looks");

    let figures = figures::read(&base.db).await.unwrap();
    assert_eq!(figures.runs["QUEUED"], 100_000);
    assert!(figures.oldest_us > 0);

    // Far behind it, what a worker held that has ended is found all the same.
    for sql in [
        "INSERT INTO worker (id, name, started_at, lease_until, ended_at, facts) VALUES (7, 'gone', 0, 0, 1, '{}')",
        "UPDATE run SET status = 'RUNNING', worker_id = 7, epoch = 1 WHERE id = 100001",
    ] {
        base.db.pool().execute_unprepared(sql).await.unwrap();
    }
    let far = Place { requested_at: 180_000_000, run: 180_000 };
    let look = due::look(&base.db, far, 3).await.unwrap();
    assert_eq!(look.orphans, [RunId(100_001)]);
    assert_eq!(look.runs.iter().map(|(run, _)| run.0).collect::<Vec<i64>>(), [180_001, 180_002]);
    assert_eq!(look.to.unwrap().run, 180_002);
    let look = due::look(&base.db, far, 1).await.unwrap();
    assert_eq!(
        (look.orphans, look.runs.len(), look.to),
        (vec![RunId(100_001)], 0, Some(far)),
        "it goes on where it was"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_is_looked_at_by_index_on_postgres() {
    by_index(Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_is_looked_at_by_index_on_sqlite() {
    by_index(Store::Sqlite).await;
}

/// While all seats are taken, sweeps ring nobody twice; what was lost is rung again.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_rings_only_what_the_queue_lacks() {
    const WAITING: usize = 12;
    let fleet = Fleet::of(Size::Fleet).workers(1).private_redis();
    let fleet = fleet.set("SLIPWAY_QUEUE_PREFIX", "line").set("SLIPWAY_WORKER_SEATS", 1);
    let fleet = fleet.set("SLIPWAY_WORKER_SWEEP_MS", 100).start().await;
    let node = practice::node().await;
    let api = &fleet.client;
    api.infrastructure("test", &node, json!({})).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    let path = "/projects/*/bundles/imported/*/actions/activate";
    let held = node.arm(Fault::on("POST", path, FaultKind::Hold { when: When::After })).unwrap();
    let mut updates = Vec::new();
    for number in 0..=WAITING {
        let id = format!("churn-{number}");
        api.deployment(&id, "test", ("CHURN", "v1"), &format!("P{number}"), json!({})).await;
        updates.push(api.start(&id).await);
        if number == 0 {
            in_time("the first one", held.reached()).await;
        }
    }
    let redis = fleet.redis.as_ref().unwrap();
    let depth = || async {
        let answer = redis.command("LLEN {line}:jobs").await.unwrap();
        answer.trim_start_matches(':').parse::<usize>().unwrap()
    };
    let sweeps = || async { metric(fleet.workers[0].port, "slipway_sweeps_total").await };
    // A bell may be rung twice while it is on its way, and not be known to wait yet; never again and again.
    let fine = WAITING - 1..=2 * WAITING;
    for hurt in [false, true] {
        if hurt {
            redis.flush().await;
            until_true("bells that are rung again", PATIENCE, || async { depth().await >= WAITING - 1 }).await;
        }
        let before = sweeps().await;
        until("thirty sweeps", PATIENCE, || async {
            let depth = depth().await;
            assert!(depth <= 2 * WAITING, "bells that wait already were rung again: {depth}");
            (sweeps().await >= before + 30.0).then_some(())
        })
        .await;
        let depth = depth().await;
        assert!(fine.contains(&depth), "{depth}");
    }
    held.disarm();
    let db = fleet.db().await;
    for update in &updates {
        history::until_over(&db, update.parse().unwrap(), PATIENCE).await;
    }
}

/// As `slipway soak backlog` does it, with a line that is not so long.
async fn of_updates(size: soak::Size, runs: i64) {
    let settings = load::Settings { binary: slipway::binary(), size, runs, updates: 20 };
    let report = load::run(&settings, Arc::new(|_: &str| {})).await.unwrap();
    assert_eq!(report.broken(), Vec::<String>::new(), "{report}");
    let bells = (size == soak::Size::Fleet).then_some(MOST);
    assert_eq!(report.bells(), bells, "more wait than may be rung: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_in_a_fleet() {
    of_updates(soak::Size::Fleet, MOST as i64 + 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_line_in_a_single_process() {
    of_updates(soak::Size::Embedded, 2_000).await;
}

/// One number of a process.
pub(crate) async fn metric(port: u16, name: &str) -> f64 {
    let text = client::http().get(format!("http://127.0.0.1:{port}/metrics")).send().await.unwrap();
    let text = text.text().await.unwrap();
    let line =
        text.lines().find(|line| line.split([' ', '{']).next() == Some(name) || line.starts_with(&format!("{name} ")));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
