//! `slipway migrate` from several processes at once.

use std::thread;

use engine::db::{Db, Use};
use tests::{Fleet, Size, postgres::Postgres};

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
