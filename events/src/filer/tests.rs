use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::Notify, task::JoinSet};

use super::*;
use crate::{EventServer, Format, Grant, batch::Arrived, shelf::Folder};

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that fails, or hangs, when it is told to.
#[derive(Debug)]
struct Moody {
    folder: Folder,
    mood: Mutex<Mood>,
    hangs: Notify,
    /// What hangs: the store may put it when the server is dead.
    late: Mutex<Vec<(String, Bytes)>>,
}

#[derive(Debug, Default)]
struct Mood {
    /// Puts of paths that begin so fail, after the file is there.
    put_fails: Option<&'static str>,
    remove_fails: bool,
    /// Puts of paths that begin so never end.
    put_hangs: Option<&'static str>,
    /// As a bucket's.
    lingers: bool,
}

impl Moody {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

#[async_trait]
impl Shelf for Moody {
    async fn put(&self, path: &str, content: Bytes) -> io::Result<u64> {
        let hangs = self.mood.lock().unwrap().put_hangs.is_some_and(|start| path.starts_with(start));
        if hangs {
            self.late.lock().unwrap().push((path.to_owned(), content.clone()));
            self.hangs.notify_one();
            std::future::pending::<()>().await;
        }
        let put = self.folder.put(path, content).await?;
        let fails = self.mood.lock().unwrap().put_fails.is_some_and(|start| path.starts_with(start));
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(put) }
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let fails = self.mood.lock().unwrap().remove_fails;
        if fails { Err(io::ErrorKind::PermissionDenied.into()) } else { self.folder.remove(path).await }
    }

    fn lingers(&self) -> bool {
        self.mood.lock().unwrap().lingers
    }

    async fn exists(&self, path: &str) -> io::Result<bool> {
        self.folder.exists(path).await
    }
}

struct Bench {
    root: TempDir,
    settings: Settings,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let keys = vec![format!("{} any", "ab".repeat(32))];
        let location = root.path().to_str().unwrap().to_owned();
        let settings = Settings { location, keys, commit_ms: 0, wait_ms: 50, ..Settings::default() };
        Self { root, settings }
    }

    async fn server(&self) -> EventServer {
        EventServer::open(self.settings.clone()).await.unwrap()
    }

    async fn moody(&self) -> (Arc<EventServer>, Arc<Moody>) {
        self.in_mood(Mood::default()).await
    }

    async fn in_mood(&self, mood: Mood) -> (Arc<EventServer>, Arc<Moody>) {
        let house = House::enter(&self.root.path().join(".slipway-event-server")).unwrap();
        let folder = Folder::new(self.root.path(), &house.under_way());
        let shelf = Arc::new(Moody { folder, mood: Mutex::new(mood), hangs: Notify::new(), late: Mutex::default() });
        let server = EventServer::over(shelf.clone(), house, self.settings.clone()).await.unwrap();
        (Arc::new(server), shelf)
    }

    /// Every event, by topic: the numbers that the events carry.
    fn filed(&self) -> BTreeMap<String, Vec<i64>> {
        let mut found = BTreeMap::new();
        for topic in fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap()) {
            let name = topic.file_name().into_string().unwrap();
            if !name.starts_with('.') {
                let mut numbers = Vec::new();
                collect(&topic.path(), &mut numbers);
                numbers.sort_unstable();
                if !numbers.is_empty() {
                    found.insert(name, numbers);
                }
            }
        }
        found
    }
}

fn collect(folder: &Path, numbers: &mut Vec<i64>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            collect(&entry, numbers);
        } else {
            for line in fs::read_to_string(&entry).unwrap().lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                numbers.push(line["clientEvent"]["n"].as_i64().unwrap());
            }
        }
    }
}

fn batch(server: &EventServer, id: Option<&str>, events: &[(&str, i64)]) -> Batch {
    let events: Vec<Value> = events
        .iter()
        .map(|(topic, n)| json!({ "topic": topic, "routingKey": "k", "clientEvent": { "n": n } }))
        .collect();
    let body = json!({ "batchId": id, "events": events }).to_string().into();
    let grant = Grant::all("any");
    let arrived = Arrived { grant: &grant, address: "::1", batch_id: None, at: clock::now_micros() };
    Batch::read(&body, Format::Json, &arrived, server.settings()).unwrap()
}

async fn file(server: &EventServer, id: Option<&str>, events: &[(&str, i64)]) -> Result<Receipt, EventError> {
    let place = server.place(1_000).await.unwrap();
    tokio::time::timeout(PATIENCE, server.file(batch(server, id, events), place)).await.unwrap()
}

fn code(result: Result<Receipt, EventError>) -> String {
    result.unwrap_err().code().as_str().to_owned()
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_filed_once() {
    let bench = Bench::new();
    let server = bench.server().await;
    let events = [("a", 1), ("b", 2), ("a", 3)];
    assert_eq!(file(&server, Some("one"), &events).await.unwrap(), Receipt { events: 3, duplicate: false });
    assert_eq!(file(&server, Some("one"), &events).await.unwrap(), Receipt { events: 3, duplicate: true });
    assert_eq!(code(file(&server, Some("one"), &[("a", 4)]).await), "EVENT_BATCH_MISMATCH");
    file(&server, None, &[("a", 5)]).await.unwrap();
    file(&server, None, &[("a", 5)]).await.unwrap();
    let wanted = BTreeMap::from([("a".to_owned(), vec![1, 3, 5, 5]), ("b".to_owned(), vec![2])]);
    assert_eq!(bench.filed(), wanted);
    server.close().await;
    assert_eq!(code(file(&server, Some("two"), &events).await), "EVENT_SERVER_STOPPING");

    let server = bench.server().await;
    assert!(file(&server, Some("one"), &events).await.unwrap().duplicate, "also after a restart");
    assert_eq!(bench.filed(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_come_at_once_share_a_commit() {
    let mut bench = Bench::new();
    bench.settings.commit_ms = 50;
    let server = Arc::new(bench.server().await);
    let mut sent = JoinSet::new();
    for n in 0..200 {
        let server = Arc::clone(&server);
        // Each comes twice.
        sent.spawn(async move { file(&server, Some(&format!("{}", n / 2)), &[("a", n / 2)]).await.unwrap() });
    }
    let receipts = sent.join_all().await;
    assert_eq!(receipts.iter().filter(|receipt| receipt.duplicate).count(), 100);
    assert_eq!(bench.filed()["a"], (0..100).collect::<Vec<i64>>());
    let commits = server.metrics().commits.get();
    assert!(commits < 50, "{commits} commits for 100 batches");
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_and_can_be_sent_again() {
    let bench = Bench::new();
    let (server, shelf) = bench.moody().await;
    let events = [("a", 1), ("b", 2)];
    shelf.set(Mood { put_fails: Some("b/"), ..Mood::default() });
    assert_eq!(code(file(&server, Some("one"), &events).await), "EVENTS_NOT_FILED");
    assert_eq!(bench.filed(), BTreeMap::new());
    assert!(!server.is_ready());

    // What was left can't be taken back: nothing is filed before that works.
    shelf.set(Mood { put_fails: Some("b/"), remove_fails: true, ..Mood::default() });
    assert_eq!(code(file(&server, Some("one"), &events).await), "EVENTS_NOT_FILED");
    shelf.set(Mood { remove_fails: true, ..Mood::default() });
    assert_eq!(code(file(&server, Some("two"), &[("a", 3)]).await), "EVENTS_NOT_FILED");
    shelf.set(Mood::default());
    assert!(!file(&server, Some("one"), &events).await.unwrap().duplicate);
    assert!(server.is_ready());
    assert_eq!(bench.filed(), BTreeMap::from([("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]));
}

#[tokio::test]
async fn what_a_dead_server_was_about_to_file_is_settled() {
    let bench = Bench::new();
    half_filed(&bench).await;
    let server = bench.server().await;
    assert_eq!(
        bench.filed(),
        BTreeMap::from([("a".to_owned(), vec![1]), ("b".to_owned(), vec![1])]),
        "the half is gone"
    );
    assert!(!file(&server, Some("two"), &[("a", 2), ("b", 2)]).await.unwrap().duplicate);
    assert!(file(&server, Some("one"), &[("a", 1), ("b", 1)]).await.unwrap().duplicate);
}

/// A server of a store that may still put what it was sent: its batches wait until that is past, the others do not.
#[tokio::test]
async fn what_a_store_may_still_put_is_in_doubt_until_it_cannot() {
    for comes in [true, false] {
        let mut bench = Bench::new();
        bench.settings.settle_s = 1;
        let late = half_filed(&bench).await;
        let (server, shelf) = bench.in_mood(Mood { lingers: true, ..Mood::default() }).await;
        let two = [("a", 2), ("b", 2)];
        assert_eq!(code(file(&server, Some("two"), &two).await), "EVENT_BATCH_IN_DOUBT");
        assert!(!file(&server, Some("three"), &[("a", 3)]).await.unwrap().duplicate);
        assert!(file(&server, Some("one"), &[("a", 1), ("b", 1)]).await.unwrap().duplicate);
        if comes {
            for (path, content) in late {
                shelf.folder.put(&path, content).await.unwrap();
            }
        }
        let receipt = loop {
            match file(&server, Some("two"), &two).await {
                Err(EventError::InDoubt) => tokio::task::yield_now().await,
                other => break other.unwrap(),
            }
        };
        assert_eq!(receipt.duplicate, comes);
        assert_eq!(bench.filed(), BTreeMap::from([("a".to_owned(), vec![1, 2, 3]), ("b".to_owned(), vec![1, 2])]));
    }
}

/// A server that dies in the midst of its second batch; what it was still putting.
async fn half_filed(bench: &Bench) -> Vec<(String, Bytes)> {
    let (server, shelf) = bench.moody().await;
    file(&server, Some("one"), &[("a", 1), ("b", 1)]).await.unwrap();
    shelf.set(Mood { put_hangs: Some("b/"), ..Mood::default() });
    let sent = tokio::spawn({
        let server = Arc::clone(&server);
        async move { file(&server, Some("two"), &[("a", 2), ("b", 2)]).await }
    });
    tokio::time::timeout(PATIENCE, shelf.hangs.notified()).await.unwrap();
    let half = || bench.filed()["a"] == [1, 2];
    tokio::time::timeout(PATIENCE, async {
        while !half() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // It dies.
    server.abort();
    sent.abort();
    let _ = sent.await;
    let late = std::mem::take(&mut *shelf.late.lock().unwrap());
    drop((server, shelf));
    late
}

#[tokio::test]
async fn more_than_fits_is_refused_and_the_rest_is_filed_at_the_end() {
    let mut bench = Bench::new();
    bench.settings = Settings { batch_bytes: 10_000, event_bytes: 10_000, memory: 20_000, ..bench.settings };
    let (server, shelf) = bench.moody().await;
    let place = server.place(8_000).await.unwrap();
    assert_eq!(server.place(8_000).await.unwrap_err().code().as_str(), "EVENT_SERVER_BUSY");
    let place = place.shrunk_to(10);
    drop(server.place(8_000).await.unwrap());

    shelf.set(Mood { put_hangs: Some("none"), ..Mood::default() });
    let sent = tokio::spawn({
        let (server, batch) = (Arc::clone(&server), batch(&server, None, &[("a", 1)]));
        async move { server.file(batch, place).await }
    });
    while server.metrics().commits.get() == 0 && !sent.is_finished() {
        tokio::task::yield_now().await;
    }
    server.close().await;
    assert_eq!(sent.await.unwrap().unwrap(), Receipt { events: 1, duplicate: false });
    assert_eq!(bench.filed()["a"], [1]);
}
