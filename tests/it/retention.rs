//! What is kept of updates that have ended, and for how long.

use engine::{
    db::{Db, sql_with},
    runs::retain::{self, Forgotten, Retention},
};
use sandbox::BundleSpec;
use sea_orm::ConnectionTrait;
use serde_json::json;
use tests::{Base, Fleet, PATIENCE, Size, Store, practice, until_true};

const DAY: i64 = 24 * 3_600 * 1_000_000;

/// An id of so many days ago, and others of that day.
fn id(now: i64, days: i64, number: i64) -> i64 {
    ((((now - days * DAY) / 1_000) & ((1 << 42) - 1)) << 21) + number
}

/// A run of this deployment that ended so many days ago; None is one that has not ended.
async fn run(db: &Db, now: i64, deployment: &str, number: i64, status: &str, days: Option<i64>) -> i64 {
    let id = id(now, days.unwrap_or(100), number);
    let ended = days.map_or("NULL".to_owned(), |days| (now - days * DAY).to_string());
    for sql in [
        format!(
            "INSERT INTO run (id, deployment_id, run_no, status, epoch, seq, attempt, requester, requested_at, ended_at)
VALUES ({id}, '{deployment}', {number}, '{status}', 1, 1, 0, 'ada', {id}, {ended})"
        ),
        format!(
            "INSERT INTO run_event (run_id, seq, at, epoch, kind, data) VALUES ({id}, 1, 1, 0, 'Requested', '{{}}')"
        ),
        format!(
            "INSERT INTO run_log (run_id, seq, at, stream, admins_only, line) VALUES ({id}, 1, 1, 'STEP', false, 'said')"
        ),
    ] {
        let tx = db.begin().await.unwrap();
        tx.execute_unprepared(&sql).await.unwrap();
        tx.commit().await.unwrap();
    }
    id
}

async fn ids(db: &Db, table: &str, key: &str) -> Vec<i64> {
    let sql = format!("SELECT DISTINCT {key} AS id FROM {table} ORDER BY {key}");
    let rows = db.pool().query_all_raw(sql_with(db.pool(), sql, [])).await.unwrap();
    rows.iter().map(|row| row.try_get("", "id").unwrap()).collect()
}

async fn kept(store: Store) {
    let base = Base::new(store).await;
    let (db, now) = (&base.db, base.db.now().await.unwrap());
    let mut stay = Vec::new();
    let mut go = Vec::new();
    // Older than its newest success.
    go.push(run(db, now, "plain", 1, "SUCCEEDED", Some(90)).await);
    go.push(run(db, now, "plain", 2, "FAILED", Some(80)).await);
    stay.push(run(db, now, "plain", 3, "WARNING", Some(70)).await);
    // Never succeeded: what later ones may inherit from.
    stay.push(run(db, now, "failing", 11, "CANCELLED", Some(90)).await);
    stay.push(run(db, now, "failing", 12, "FAILED", Some(80)).await);
    // A retry that has not ended, one that is stuck, and what they inherit from.
    go.push(run(db, now, "retried", 20, "FAILED", Some(95)).await);
    stay.push(run(db, now, "retried", 21, "SUCCEEDED", Some(90)).await);
    stay.push(run(db, now, "retried", 22, "FAILED", Some(80)).await);
    stay.push(run(db, now, "retried", 23, "QUEUED", None).await);
    stay.push(run(db, now, "stuck", 31, "FAILED", Some(80)).await);
    stay.push(run(db, now, "stuck", 32, "STUCK", None).await);
    // Young ones.
    stay.push(run(db, now, "young", 41, "FAILED", Some(20)).await);
    stay.push(run(db, now, "young", 42, "SUCCEEDED", Some(10)).await);
    // A repeated request is answered with it.
    let asked = run(db, now, "asked", 51, "FAILED", Some(80)).await;
    stay.push(asked);
    stay.push(run(db, now, "asked", 52, "SUCCEEDED", Some(70)).await);
    let key = format!("INSERT INTO idempotency_key VALUES ('ada', 'asked', 'k', 'a', {asked}, {now})");
    db.pool().execute_unprepared(&key).await.unwrap();
    let all = ids(db, "run", "id").await;

    let nothing = retain::retain(db, Retention::default()).await.unwrap();
    assert_eq!((nothing, ids(db, "run", "id").await), (Forgotten::default(), all.clone()), "0 is for ever");

    let logs = retain::retain(db, Retention { runs_days: 0, logs_days: 30 }).await.unwrap();
    // All but the two young and the two unfinished ones.
    assert_eq!(logs, Forgotten { logs: all.len() as u64 - 4, runs: 0 });
    assert_eq!(ids(db, "run_log", "run_id").await.len(), 4);
    assert_eq!((ids(db, "run", "id").await, ids(db, "run_event", "run_id").await), (all.clone(), all));

    let gone = retain::retain(db, Retention { runs_days: 30, logs_days: 0 }).await.unwrap();
    assert_eq!(gone, Forgotten { logs: 0, runs: go.len() as u64 });
    stay.sort_unstable();
    assert_eq!(ids(db, "run", "id").await, stay);
    assert_eq!(ids(db, "run_event", "run_id").await, stay);
    let again = retain::retain(db, Retention { runs_days: 30, logs_days: 30 }).await.unwrap();
    assert_eq!(again, Forgotten::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_and_of_no_use_goes_on_postgres() {
    kept(Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_and_of_no_use_goes_on_sqlite() {
    kept(Store::Sqlite).await;
}

/// A worker does it, as the settings say; what the deployment stands at is still told.
#[tokio::test(flavor = "multi_thread")]
async fn workers_forget_by_themselves() {
    let mut fleet = Fleet::of(Size::Fleet).workers(1).set("SLIPWAY_RETENTION_RUNS_DAYS", 30).start().await;
    let node = practice::node().await;
    let api = fleet.client.clone();
    api.infrastructure("test", &node, json!({})).await;
    api.bundle(&BundleSpec::new("CHURN", "v1")).await;
    api.deployment("churn", "test", ("CHURN", "v1"), "CHURN", json!({})).await;
    let first = api.run("churn", "SUCCEEDED").await["id"].as_str().unwrap().to_owned();
    let second = api.run("churn", "SUCCEEDED").await["id"].as_str().unwrap().to_owned();
    let db = fleet.db().await;
    // As if both had been long ago. Ids are in order of time.
    let now = db.now().await.unwrap();
    let tx = db.begin().await.unwrap();
    for (number, run) in [(1, &first), (2, &second)] {
        let (old, ended) = (id(now, 40, number), now - 40 * DAY);
        for sql in [
            format!("UPDATE run SET id = {old}, ended_at = {ended} WHERE id = {run}"),
            format!("UPDATE run_event SET run_id = {old} WHERE run_id = {run}"),
            format!("UPDATE run_log SET run_id = {old} WHERE run_id = {run}"),
        ] {
            tx.execute_unprepared(&sql).await.unwrap();
        }
    }
    tx.execute_unprepared("DELETE FROM idempotency_key").await.unwrap();
    tx.execute_unprepared("UPDATE chore SET at = 0 WHERE name = 'forget'").await.unwrap();
    tx.commit().await.unwrap();
    fleet.start_worker().await;
    until_true("one update is left", PATIENCE, || async { ids(&db, "run", "id").await == [id(now, 40, 2)] }).await;
    let told = api.graphql("{ deployment(id: \"churn\") { latestUpdate { status number } } }", json!({})).await;
    assert_eq!(told["deployment"]["latestUpdate"], json!({ "status": "SUCCEEDED", "number": 2 }));
    assert_eq!(api.run("churn", "SUCCEEDED").await["number"], 3, "numbers go on");
}
