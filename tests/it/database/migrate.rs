//! `slipway migrate` from several processes at once, and beside others who use the database.

use std::{sync::Arc, thread};

use engine::db::{Db, Use, sql_with};
use sea_orm::ConnectionTrait;
use tests::{Fleet, PATIENCE, Size, postgres::Postgres, until_true};
use tokio::task::spawn_blocking;

/// Each ends well, one of them makes the first administrator, and the schema is whole.
#[tokio::test(flavor = "multi_thread")]
async fn from_many_processes_at_once() {
    for many in [2, 5] {
        // A fleet that is there already lends its settings.
        let mut fleet = Fleet::of(Size::Fleet).workers(0).start().await;
        let url = Postgres::shared().await.database().await;
        fleet.set("SLIPWAY_DATABASE_URL", &url);
        fleet.set("SLIPWAY_ADMIN_KEY", "");
        let outputs: Vec<_> = thread::scope(|scope| {
            let started: Vec<_> = (0..many).map(|_| scope.spawn(|| fleet.run(&["migrate"]))).collect();
            started.into_iter().map(|process| process.join().unwrap()).collect()
        });
        let mut keys = 0;
        for output in &outputs {
            let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{said}{failed}");
            keys += usize::from(said.contains("first administrator"));
        }
        assert_eq!(keys, 1, "{outputs:?}");
        let db = Db::open(&url, Use::Shared(1)).await.unwrap();
        assert_eq!(migration::pending(db.pool()).await.unwrap(), 0);
        // Once more changes nothing.
        let again = fleet.run(&["migrate"]);
        assert!(String::from_utf8_lossy(&again.stdout).contains("up to date"), "{again:?}");
    }
}

async fn number(db: &impl ConnectionTrait, sql: &str) -> i64 {
    db.query_one_raw(sql_with(db, sql, [])).await.unwrap().unwrap().try_get("", "n").unwrap()
}

/// A change of a table that somebody reads for long, as a backup does: heartbeats go on meanwhile, and the change is made when the reader has gone.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_backup() {
    const LEASE: &str = "SELECT MAX(lease_until) AS n FROM worker";
    const WAITS: &str = "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE worker%'";
    let fleet = Arc::new(Fleet::of(Size::Fleet).workers(1).start().await);
    let db = fleet.db().await;
    // As it was before the last step.
    for sql in [
        "ALTER TABLE worker DROP COLUMN came_back_at",
        "DELETE FROM seaql_migrations WHERE version = 'm20261122_000002_came_back'",
    ] {
        db.pool().execute_unprepared(sql).await.unwrap();
    }
    let backup = db.begin().await.unwrap();
    number(&*backup, LEASE).await;
    let migrating = spawn_blocking({
        let fleet = Arc::clone(&fleet);
        move || fleet.run(&["migrate"])
    });
    // Not through the backup: a transaction sees the activity of its first look.
    until_true("a change that waits", PATIENCE, || async { number(db.pool(), WAITS).await > 0 }).await;
    let before = number(&*backup, LEASE).await;
    until_true("a heartbeat", PATIENCE, || async { number(&*backup, LEASE).await > before }).await;
    backup.commit().await.unwrap();
    let migrated = migrating.await.unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    assert_eq!(migration::pending(db.pool()).await.unwrap(), 0);
    assert!(fleet.workers[0].is_ready().await);
}
