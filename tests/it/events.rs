//! The Event Server as a process: what it takes and refuses, what it files, and what stays of it when it is killed.

mod bench;
mod emitters;
mod kill;
mod surface;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use events::Keys;
use lab::servers::slipway::{Serving, Slipway, http};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tests::{
    bucket::{self, Bucket},
    scratch::Scratch,
    slipway,
};

/// A folder or a bucket of events, and the servers on it.
pub(crate) struct Ground {
    scratch: Scratch,
    bucket: Option<Bucket>,
    slipway: Slipway,
    pub(crate) key: String,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.body["errors"][0]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn field(&self) -> &str {
        self.body["errors"][0]["field"].as_str().unwrap_or_default()
    }
}

impl Ground {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new("events");
        let (key, hash) = Keys::generate();
        let mut slipway =
            Slipway { binary: slipway::binary(), folder: scratch.path().to_owned(), variables: BTreeMap::new() };
        slipway.set("SLIPWAY_EVENTS_KEYS", format!("{hash} tests"));
        slipway.set("SLIPWAY_EVENTS_LOCATION", scratch.at("events"));
        slipway.set("SLIPWAY_EVENTS_COMMIT_MS", 0);
        Self { scratch, bucket: None, slipway, key: key.expose().to_owned() }
    }

    /// With the events in a bucket, below a prefix.
    pub(crate) fn in_a_bucket() -> Self {
        let mut ground = Self::new();
        let bucket = ground.bucket.insert(Bucket::launch());
        for (variable, value) in bucket.variables() {
            ground.slipway.set(variable, value);
        }
        ground.slipway.set("SLIPWAY_EVENTS_LOCATION", format!("s3://{}/of/models", bucket::NAME));
        ground.slipway.set("SLIPWAY_EVENTS_STATE", ground.scratch.at("state"));
        ground.slipway.set("SLIPWAY_EVENTS_SETTLE_S", 2);
        ground
    }

    pub(crate) fn set(mut self, variable: &str, value: impl ToString) -> Self {
        self.slipway.set(variable, value);
        self
    }

    pub(crate) async fn serve(&self) -> Serving {
        self.slipway.serve("event-server", &["event-server"], None, &[]).await.unwrap()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.scratch.path().join("events")
    }

    /// Every line of every file below a topic's folder, by the path of the file's folder. A line that is no whole event is a failed test.
    pub(crate) fn filed(&self) -> BTreeMap<String, Vec<Value>> {
        let mut found = BTreeMap::<String, Vec<Value>>::new();
        if let Some(bucket) = &self.bucket {
            for (key, content) in bucket.objects() {
                let (folder, name) = key.strip_prefix("of/models/").unwrap().rsplit_once('/').unwrap();
                assert!(name.ends_with(".jsonl"), "{key}");
                found.entry(folder.to_owned()).or_default().extend(lines(&key, &String::from_utf8(content).unwrap()));
            }
            return found;
        }
        let root = self.folder();
        for topic in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap()) {
            if topic.file_name() != ".slipway-event-server" {
                read(&root, &topic.path(), &mut found);
            }
        }
        found
    }
}

fn read(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<Value>>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            read(root, &path, found);
            continue;
        }
        assert_eq!(path.extension().unwrap(), "jsonl", "{}", path.display());
        let text = fs::read_to_string(&path).unwrap();
        let name = folder.strip_prefix(root).unwrap().display().to_string();
        found.entry(name).or_default().extend(lines(&path.display().to_string(), &text));
    }
}

fn lines(file: &str, text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'), "{file} ends in the middle of a line");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A client of one server.
#[derive(Clone)]
pub(crate) struct Sender {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Sender {
    pub(crate) fn new(server: &Serving, key: &str) -> Self {
        let http = http(Duration::from_secs(60)).unwrap();
        Self { http, url: format!("http://127.0.0.1:{}", server.port), key: key.to_owned() }
    }

    pub(crate) async fn send(&self, body: &Value) -> reqwest::Result<Answer> {
        let sent = self.http.post(format!("{}/events", self.url)).bearer_auth(&self.key).json(body);
        answer(sent.send().await?).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}

pub(crate) async fn answer(answer: reqwest::Response) -> reqwest::Result<Answer> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await?;
    Ok(Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
}

pub(crate) fn event(topic: &str, routing_key: &str, n: usize) -> Value {
    json!({ "topic": topic, "routingKey": routing_key, "clientEvent": { "msgType": "prediction-query", "n": n } })
}
