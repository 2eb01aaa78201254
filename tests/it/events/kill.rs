//! Killed at any moment: what was answered is there, once; what was not answered can be sent again; no file holds half a line.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use lab::servers::slipway::Serving;
use rustix::process::Signal;
use tests::{PATIENCE, until_true};
use tokio::task::JoinSet;

use super::*;

const CLIENTS: usize = 8;
const KILLS: usize = 4;

/// Clients that send batch after batch, each until it is answered.
struct Load {
    /// Where the server is now.
    port: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<BTreeSet<String>>>,
    clients: JoinSet<usize>,
}

impl Load {
    fn start(server: &Serving, key: &str) -> Self {
        let (port, stop) = (Arc::new(AtomicUsize::new(usize::from(server.port))), Arc::new(AtomicBool::new(false)));
        let answered: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (port, stop, answered) = (Arc::clone(&port), Arc::clone(&stop), Arc::clone(&answered));
            let (http, key) = (http(std::time::Duration::from_secs(20)).unwrap(), key.to_owned());
            clients.spawn(async move {
                let mut again = 0;
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let id = format!("{client}-{number}");
                    // Two routing keys: a commit has several files.
                    let events: Vec<Value> = (0..3)
                        .map(|n| {
                            let key = if n == 2 { "odd" } else { "even" };
                            json!({ "topic": "apinode-query", "routingKey": key, "clientEvent": { "batch": id, "n": n } })
                        })
                        .collect();
                    let body = json!({ "batchId": id, "events": events });
                    loop {
                        let url = format!("http://127.0.0.1:{}", port.load(Ordering::SeqCst));
                        let sender = Sender { http: http.clone(), url, key: key.clone() };
                        match sender.send(&body).await {
                            Ok(answer) if answer.status == StatusCode::OK => break,
                            Ok(answer) => {
                                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
                                // It is asked to come again.
                                tokio::time::sleep(Duration::from_millis(100)).await;
                            }
                            Err(_) => {}
                        }
                        again += 1;
                        tokio::task::yield_now().await;
                    }
                    answered.lock().unwrap().insert(id);
                }
                again
            });
        }
        Self { port, stop, answered, clients }
    }

    fn answered(&self) -> BTreeSet<String> {
        self.answered.lock().unwrap().clone()
    }

    async fn more(&self, than: usize) {
        until_true("more answers", PATIENCE, || async { self.answered().len() > than }).await;
    }

    fn is_at(&self, server: &Serving) {
        self.port.store(usize::from(server.port), Ordering::SeqCst);
    }

    /// How often a batch was sent again.
    async fn end(&mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut again = 0;
        while let Some(client) = self.clients.join_next().await {
            again += client.unwrap();
        }
        again
    }
}

/// How often each event of each batch was filed.
fn counts(ground: &Ground) -> BTreeMap<String, [usize; 3]> {
    let mut counts = BTreeMap::<String, [usize; 3]>::new();
    for line in ground.filed().values().flatten() {
        let event = &line["clientEvent"];
        let n = usize::try_from(event["n"].as_u64().unwrap()).unwrap();
        counts.entry(event["batch"].as_str().unwrap().to_owned()).or_default()[n] += 1;
    }
    counts
}

fn all_once(counts: &BTreeMap<String, [usize; 3]>, batches: &BTreeSet<String>) {
    for batch in batches {
        assert_eq!(counts.get(batch), Some(&[1, 1, 1]), "{batch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_batch_is_there_once_whenever_the_server_is_killed() {
    killed_again_and_again(Ground::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_batch_is_in_its_bucket_once_whenever_the_server_is_killed() {
    killed_again_and_again(Ground::in_a_bucket()).await;
}

async fn killed_again_and_again(ground: Ground) {
    let mut server = ground.serve().await;
    let mut load = Load::start(&server, &ground.key);
    for _ in 0..KILLS {
        load.more(load.answered().len() + 50).await;
        let before = load.answered();
        server.process.kill().await.unwrap();
        // Nobody has mended anything yet.
        all_once(&counts(&ground), &before);
        server = ground.serve().await;
        load.is_at(&server);
    }
    load.more(load.answered().len() + 50).await;
    let again = load.end().await;
    assert!(again > 0, "no kill came while a batch was on its way");
    let (counts, answered) = (counts(&ground), load.answered());
    all_once(&counts, &answered);
    assert_eq!(counts.keys().cloned().collect::<BTreeSet<_>>(), answered, "each batch was sent until it was answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_loses_nothing() {
    let ground = Ground::new().set("SLIPWAY_EVENTS_COMMIT_MS", 20);
    let first = ground.serve().await;
    let mut load = Load::start(&first, &ground.key);
    load.more(50).await;
    first.process.signal(Signal::TERM);
    assert_eq!(first.process.exited(PATIENCE).await.unwrap(), 0);
    all_once(&counts(&ground), &load.answered());
    let second = ground.serve().await;
    load.is_at(&second);
    load.more(load.answered().len() + 50).await;
    load.end().await;
    all_once(&counts(&ground), &load.answered());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_share_a_folder_and_the_living_take_over_from_the_dead() {
    let ground = Ground::new();
    let (one, other) = (ground.serve().await, ground.serve().await);
    let body = json!({ "batchId": "x", "events": [event("a", "b", 1)] });
    let (to_one, to_other) = (Sender::new(&one, &ground.key), Sender::new(&other, &ground.key));
    assert_eq!(to_one.send(&body).await.unwrap().body["duplicate"], false);
    let more = json!({ "batchId": "y", "events": [event("a", "b", 2)] });
    assert_eq!(to_other.send(&more).await.unwrap().body["duplicate"], false);
    one.process.kill().await.unwrap();
    // What the dead one filed is recognised by the other one soon; its own it knows in any case.
    let known = || async { to_other.get("/metrics").await.1.contains("slipway_events_known_batches 2") };
    until_true("the other one's batches", PATIENCE, known).await;
    assert_eq!(to_other.send(&body).await.unwrap().body["duplicate"], true);
    let numbers: Vec<i64> =
        ground.filed().values().flatten().map(|line| line["clientEvent"]["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 2);
    assert_eq!(numbers.len(), 2, "{numbers:?}");
}
