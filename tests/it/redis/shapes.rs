//! One server that is killed and wiped, sentinels that fail over, a cluster that loses nodes: mutations succeed all along, and what was asked for goes on when Redis is back.

use std::time::{Duration, Instant};

use engine::journal::Kind;
use tests::{
    Fleet, FleetBuilder, PATIENCE, Size, history, in_time,
    kin::{self, Kin},
    until_true,
};

use super::Scene;

/// As many as are asked for in one disturbance.
const MANY: usize = 6;
/// What is promised: so long after Redis is back, whatever was asked for while it was away goes on.
const SOON: Duration = Duration::from_secs(3);
const PREFIX: &str = "shapes";

fn builder(url: &str) -> FleetBuilder {
    Fleet::of(Size::Fleet)
        .set("SLIPWAY_WORKER_SWEEP_MS", 2_000)
        .set("SLIPWAY_QUEUE_PREFIX", PREFIX)
        .set("SLIPWAY_QUEUE_REDIS_URL", url)
}

/// Names of the deployments of one disturbance: one that runs then, and those that are asked for meanwhile.
fn names(disturbance: &str) -> Vec<String> {
    (0..=MANY).map(|number| format!("{disturbance}-{number}")).collect()
}

async fn scene(url: &str, disturbances: &[&str]) -> Scene {
    let all: Vec<String> =
        disturbances.iter().flat_map(|disturbance| names(disturbance)).chain(["after".to_owned()]).collect();
    Scene::of(builder(url), &all.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// What is seen of a disturbance.
#[derive(Clone, Copy)]
enum Seen {
    /// Readiness says so until Redis is mended.
    Stays,
    /// Workers say so in their logs; it mends itself, perhaps before anybody looks at their readiness.
    Passes,
    /// The next master may be there before anybody misses the old one.
    Perhaps,
}

impl Scene {
    /// `hurt` takes Redis away while an update runs; more are asked for meanwhile. Answers them all.
    async fn disturbed(&self, disturbance: &str, hurt: impl Future<Output = ()>, seen: Seen) -> Vec<(String, String)> {
        self.until_queue("ok").await;
        let names = names(disturbance);
        let held = self.hold();
        let running = self.fleet.client.start(&names[0]).await;
        in_time("an activation", held.reached()).await;
        hurt.await;
        held.disarm();
        let mut asked = vec![(names[0].clone(), running)];
        for name in &names[1..] {
            let begun = Instant::now();
            asked.push((name.clone(), self.fleet.client.start(name).await));
            // Whoever waits for Redis waits for two seconds.
            assert!(begun.elapsed() < Duration::from_secs(2), "a mutation waited for Redis: {:?}", begun.elapsed());
        }
        match seen {
            Seen::Stays => self.until_queue("degraded: sweeping").await,
            Seen::Passes => {
                for worker in &self.fleet.workers {
                    let word = || async { worker.process().log().contains("redis is away") };
                    until_true("a worker that misses Redis", PATIENCE, word).await;
                }
            }
            Seen::Perhaps => {}
        }
        for worker in &self.fleet.workers {
            assert!(worker.is_ready().await, "a worker is not ready while Redis is away");
        }
        asked
    }

    /// Redis answers again. All of these end once, and go on in time.
    async fn goes_on(&self, asked: Vec<(String, String)>) {
        let db = self.fleet.db().await;
        let back_at = db.now().await.unwrap();
        for (name, update) in &asked {
            self.ends_once(update, &name.to_uppercase()).await;
            let journal = history::journal(&db, update.parse().unwrap()).await;
            let claimed = journal.iter().find(|event| matches!(event.kind, Kind::Claimed { .. })).unwrap();
            let late = Duration::from_micros((claimed.at - back_at).max(0).unsigned_abs());
            assert!(late < SOON, "{name} waited {late:?} after Redis was back:\n{}", history::tell(&journal));
        }
        let soon = Instant::now();
        self.until_queue("ok").await;
        assert!(soon.elapsed() < SOON * 2, "readiness took {:?}", soon.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_is_killed_and_wiped() {
    let mut server = Kin::new::<&str>([]).await;
    let scene = scene(&format!("redis://127.0.0.1:{}/0", server.port), &["killed", "wiped"]).await;
    let asked = scene.disturbed("killed", server.stop(), Seen::Stays).await;
    assert!(server.start().await);
    scene.goes_on(asked).await;
    let wipe = async {
        server.ask("FLUSHALL").await.unwrap();
    };
    let asked = scene.disturbed("wiped", wipe, Seen::Perhaps).await;
    scene.goes_on(asked).await;
    scene.bell_works("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_fail_over() {
    let first = Kin::new::<&str>([]).await;
    let port = first.port.to_string();
    let mut second = Kin::new(["--replicaof", "127.0.0.1", &port]).await;
    second.until_says("INFO replication", "master_link_status:up").await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(Kin::sentinel(first.port, 2, "").await);
    }
    for sentinel in &sentinels {
        sentinel.until_says("SENTINEL MASTERS", "num-other-sentinels\r\n$1\r\n2").await;
        sentinel.until_says("SENTINEL MASTERS", "num-slaves\r\n$1\r\n1").await;
    }
    let hosts: Vec<String> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    let scene = scene(&format!("redis+sentinel://{}/main/0", hosts.join(",")), &["paused", "killed"]).await;

    // The master stands still: its connections stay open, and nobody answers.
    let asked = scene.disturbed("paused", async { first.pause() }, Seen::Perhaps).await;
    second.until_says("INFO replication", "role:master").await;
    scene.goes_on(asked).await;
    // It comes back as a replica, and gets its turn again when the other one dies. One sentinel is gone besides.
    first.wake();
    first.until_says("INFO replication", "master_link_status:up").await;
    for sentinel in &sentinels {
        sentinel.until_says("SENTINEL REPLICAS main", "flags\r\n$5\r\nslave\r\n").await;
        sentinel.until_says("SENTINEL GET-MASTER-ADDR-BY-NAME main", &second.port.to_string()).await;
    }
    sentinels[0].stop().await;
    let asked = scene.disturbed("killed", second.stop(), Seen::Passes).await;
    first.until_says("INFO replication", "role:master").await;
    scene.goes_on(asked).await;
    scene.bell_works("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_loses_nodes() {
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(Kin::new(kin::node_arguments()).await);
    }
    let replica = nodes.pop().unwrap();
    // Who holds the queue gets the replica.
    let slot = nodes[0].ask(&format!("CLUSTER KEYSLOT {{{PREFIX}}}:jobs")).await.unwrap();
    let owner = slot.trim_start_matches(':').parse::<usize>().unwrap() / 16_384_usize.div_ceil(3);
    kin::cluster(&nodes.iter().collect::<Vec<_>>(), &[(&replica, owner)]).await;
    let mut owner = nodes.remove(owner);
    let mut other = nodes.remove(0);
    let third = &nodes[0];
    let url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}", owner.port, other.port, third.port);
    let scene = scene(&url, &["other", "owner"]).await;

    // A cluster that misses slots takes no writes, although every node that is left answers.
    let hurt = async {
        other.stop().await;
        owner.until_says("CLUSTER INFO", "cluster_state:fail").await;
    };
    let asked = scene.disturbed("other", hurt, Seen::Stays).await;
    assert!(other.start().await);
    for node in [&owner, third] {
        node.until_says("CLUSTER INFO", "cluster_state:ok").await;
    }
    scene.goes_on(asked).await;
    // Who holds the queue dies, and its replica takes over.
    let asked = scene.disturbed("owner", owner.stop(), Seen::Passes).await;
    replica.until_says("INFO replication", "role:master").await;
    replica.until_says("CLUSTER INFO", "cluster_state:ok").await;
    scene.goes_on(asked).await;
    scene.bell_works("after").await;
}
