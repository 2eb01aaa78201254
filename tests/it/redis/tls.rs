//! TLS and passwords: each shape of URL rings a bell and brings a job, and who is not trusted is not spoken to.

use engine::{
    bell::{Bell, News},
    ids::RunId,
    queue::{Queue, Redis, RedisTls, seats::Seats},
};
use sandbox::BundleSpec;
use serde_json::json;
use tests::{
    Fleet, PATIENCE, Size, client,
    kin::{self, Certificates, Kin},
    practice, until_true,
};

/// A job comes through the queue, and news through the bell.
async fn works(url: &str, tls: &RedisTls) {
    client::http();
    let redis = Redis::new(url, tls).unwrap();
    let queue = Queue::redis(redis.clone(), "tls");
    let seats = Seats::new(1);
    queue.feed(&seats);
    let (here, there) = (Bell::redis(&redis, "tls"), Bell::redis(&redis, "tls"));
    let mut heard = there.listen();
    until_true("a job", PATIENCE, || async {
        queue.ring(RunId(7));
        seats.free() == 0
    })
    .await;
    until_true("a queue that works", PATIENCE, || async { !queue.is_degraded() }).await;
    until_true("news", PATIENCE, || async {
        here.ring(&[(RunId(7), 1)]);
        !heard.is_empty()
    })
    .await;
    assert_eq!(heard.recv().await, Ok(News::Runs(vec![(RunId(7), 1)])));
    seats.close();
}

/// Redis is as good as away.
async fn fails(url: &str, tls: &RedisTls) {
    client::http();
    let queue = Queue::redis(Redis::new(url, tls).unwrap(), "tls");
    let seats = Seats::new(1);
    queue.feed(&seats);
    until_true("a refusal", PATIENCE, || async { queue.is_degraded() }).await;
    assert_eq!(seats.free(), 1);
    seats.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_trusted() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let ca = |certificates: &Certificates| RedisTls { ca: Some(certificates.read("ca.pem")), client: None };
    let with_client = RedisTls { client: Some((ours.read("client.pem"), ours.read("client.key"))), ..ca(&ours) };
    let server = Kin::new(ours.arguments(false).into_iter().chain(["--requirepass".into(), "p@ss".into()])).await;
    let url = format!("rediss://:p%40ss@127.0.0.1:{}/3", server.port);
    works(&url, &ca(&ours)).await;
    fails(&url, &ca(&others)).await;
    fails(&url, &RedisTls::default()).await;
    fails(&url.replace("p%40ss", "wrong"), &ca(&ours)).await;
    // The certificate is for 127.0.0.1.
    fails(&url.replace("127.0.0.1", "localhost"), &ca(&ours)).await;

    let strict = Kin::new(ours.arguments(true)).await;
    let url = format!("rediss://127.0.0.1:{}", strict.port);
    works(&url, &with_client).await;
    fails(&url, &ca(&ours)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_clusters() {
    let certificates = Certificates::new();
    let ca = RedisTls { ca: Some(certificates.read("ca.pem")), client: None };
    let master = Kin::new(["--requirepass", "master"]).await;
    let lines = "sentinel auth-pass main master\nrequirepass guard";
    let sentinel = Kin::sentinel(master.port, 1, lines).await;
    let at = |user: &str, name: &str, query: &str| {
        format!("redis+sentinel://{user}127.0.0.1:1,127.0.0.1:{}/{name}/0{query}", sentinel.port)
    };
    works(&at(":master@", "main", "?sentinel_password=guard"), &RedisTls::default()).await;
    fails(&at(":master@", "main", ""), &RedisTls::default()).await;
    fails(&at(":master@", "another", "?sentinel_password=guard"), &RedisTls::default()).await;

    let master = Kin::new(certificates.arguments(false)).await;
    let file = |name: &str| certificates.at(name);
    let tls = format!(
        "tls-replication yes\ntls-auth-clients no\ntls-ca-cert-file {}\ntls-cert-file {}\ntls-key-file {}",
        file("ca.pem"),
        file("127.0.0.1.pem"),
        file("127.0.0.1.key")
    );
    let sentinel = Kin::sentinel(master.port, 1, &format!("{tls}\nport 0\ntls-port PORT")).await;
    works(&format!("rediss+sentinel://127.0.0.1:{}/main", sentinel.port), &ca).await;

    // Over TLS, nodes of a cluster tell their ports for TLS.
    let arguments = certificates.arguments(false).into_iter().chain(kin::node_arguments());
    let node = Kin::new(arguments.chain(["--tls-cluster", "yes", "--tls-replication", "yes"].map(str::to_owned))).await;
    node.tool(&certificates, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    until_true("a cluster", PATIENCE, || async { node.tool(&certificates, &["CLUSTER", "INFO"]).contains("state:ok") })
        .await;
    works(&format!("rediss+cluster://127.0.0.1:{}", node.port), &ca).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_does_not_trust_its_redis_sweeps() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let server = Kin::new(ours.arguments(false)).await;
    let url = format!("rediss://127.0.0.1:{}", server.port);
    let builder = Fleet::of(Size::Fleet).workers(1).set("SLIPWAY_QUEUE_REDIS_URL", url);
    let fleet = builder.set("SLIPWAY_QUEUE_CA_FILE", others.at("ca.pem")).start().await;
    let node = practice::node().await;
    fleet.client.infrastructure("production", &node, json!({})).await;
    fleet.client.bundle(&BundleSpec::new("CHURN", "v1")).await;
    fleet.client.deployment("one", "production", ("CHURN", "v1"), "ONE", json!({})).await;
    fleet.client.run("one", "SUCCEEDED").await;
    assert!(fleet.logs().contains("redis is away"), "{}", fleet.logs());
}
