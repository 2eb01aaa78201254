//! `slipway bench events`: how many events a second the Event Server files, beside what the disk does with the same bytes and nothing else.

use std::{
    fmt,
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use events::Keys;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;
use tokio::task::JoinSet;

use crate::soak::Tell;
use crate::{
    failure::LabError,
    servers::slipway::{Serving, Slipway, http},
};

/// What is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `slipway` binary.
    pub binary: PathBuf,
    /// A folder on the disk that is measured; a folder in it is made and removed.
    pub folder: PathBuf,
    /// Clients at once; each sends the next batch when the one before was answered.
    pub clients: usize,
    /// How long each measure takes.
    pub lasts: Duration,
    /// What `events.commit_ms` is set to.
    pub paces: Vec<u64>,
    /// Events of a batch.
    pub sizes: Vec<usize>,
}

/// One line of the table.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    /// Events of a batch.
    pub size: usize,
    /// What `events.commit_ms` was; none: the raw appends.
    pub pace: Option<u64>,
    /// Events a second, answered.
    pub events: f64,
    /// Batches a second.
    pub batches: f64,
    /// Commits a second.
    pub commits: f64,
    /// Confirmations of the disk a second.
    pub fsyncs: f64,
    /// The middle of the times that a batch took.
    pub median: Duration,
    /// Events a second, over what the disk did with the same bytes.
    pub ratio: f64,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Report {
    settings: Settings,
    /// Bytes of one line in a file.
    line: usize,
    /// Line by line.
    pub measures: Vec<Measure>,
}

/// Measures.
///
/// # Errors
/// When the server does not start, or refuses a batch.
pub async fn run(settings: &Settings, tell: Tell) -> Result<Report, LabError> {
    let folder = tempfile::Builder::new().prefix("slipway-bench-").tempdir_in(&settings.folder)?;
    let (key, hash) = Keys::generate();
    let line = line(0);
    let mut measures = Vec::new();
    for &size in &settings.sizes {
        tell(&format!("Batches of {size}: the disk alone, for {} s.", settings.lasts.as_secs()));
        let raw = folder.path().join(format!("raw-{size}"));
        let lasts = settings.lasts;
        let raw = tokio::task::spawn_blocking(move || appends(&raw, size, lasts));
        let raw = raw.await.map_err(|error| LabError::failed("the raw appends", error))??;
        let disk = raw.events;
        measures.push(raw);
        for &pace in &settings.paces {
            tell(&format!("Batches of {size}: the server, commit_ms = {pace}."));
            let mut slipway = Slipway {
                binary: settings.binary.clone(),
                folder: folder.path().to_owned(),
                variables: Default::default(),
            };
            slipway.set("SLIPWAY_EVENTS_KEYS", format!("{hash} bench"));
            slipway.set("SLIPWAY_EVENTS_LOCATION", folder.path().join(format!("events-{size}-{pace}")).display());
            slipway.set("SLIPWAY_EVENTS_COMMIT_MS", pace);
            slipway.set("SLIPWAY_LOG_FILTER", "warn");
            let server = slipway.serve("event-server", &["event-server"], None, &[]).await?;
            let measure = load(settings, &server, key.expose(), size).await?;
            measures.push(Measure { pace: Some(pace), ratio: measure.events / disk, ..measure });
        }
    }
    Ok(Report { settings: settings.clone(), line: line.len(), measures })
}

/// An event as an API node tells it, more or less.
fn client_event(n: usize) -> serde_json::Value {
    json!({
        "msgType": "prediction-query", "dss.apinode.serviceId": "churn", "dss.apinode.endpointId": "predict",
        "features": { "age": 41, "tenure": 7.5, "plan": "business", "country": "NL", "calls": n % 100 },
        "prediction": { "prediction": "0", "probas": { "0": 0.914, "1": 0.086 } }, "timing": 1234,
    })
}

fn line(n: usize) -> String {
    let tail = "\"origAddress\":\"127.0.0.1\",\"serverTimestamp\":\"2020-03-17T19:15:30.609+0000\"";
    format!("{{\"clientEvent\":{},{tail}}}\n", client_event(n))
}

/// The same bytes, one batch after the other, each confirmed by the disk.
fn appends(path: &std::path::Path, size: usize, lasts: Duration) -> std::io::Result<Measure> {
    let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
    let batch: String = (0..size).map(line).collect();
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < lasts {
        let at = Instant::now();
        file.write_all(batch.as_bytes())?;
        file.sync_data()?;
        took.push(at.elapsed());
    }
    let batches = took.len() as f64 / began.elapsed().as_secs_f64();
    let median = middle(took);
    Ok(Measure {
        size,
        events: batches * size as f64,
        batches,
        fsyncs: batches,
        median,
        ratio: 1.0,
        ..Measure::default()
    })
}

fn middle(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or_default()
}

async fn load(settings: &Settings, server: &Serving, key: &str, size: usize) -> Result<Measure, LabError> {
    let url = format!("http://127.0.0.1:{}", server.port);
    let http = http(Duration::from_secs(60))?;
    let events: Vec<_> = (0..size)
        .map(|n| json!({ "topic": "apinode-query", "routingKey": "bench", "clientEvent": client_event(n) }))
        .collect();
    let events: Arc<str> = serde_json::to_string(&events).unwrap_or_default().into();
    let before = numbers(&http, &url).await?;
    let (began, lasts) = (Instant::now(), settings.lasts);
    let mut clients = JoinSet::new();
    for client in 0..settings.clients {
        let (http, url, events, key) =
            (http.clone(), format!("{url}/events"), Arc::clone(&events), format!("Bearer {key}"));
        clients.spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < lasts {
                let at = Instant::now();
                let body = format!("{{\"batchId\":\"{client}-{}\",\"events\":{events}}}", took.len());
                let sent =
                    http.post(&url).header(AUTHORIZATION, &key).header(CONTENT_TYPE, "application/json").body(body);
                let answer = sent.send().await?;
                if !answer.status().is_success() {
                    let said = format!("{}: {}", answer.status(), answer.text().await?);
                    return Err(LabError::failed("a batch", said));
                }
                answer.bytes().await?;
                took.push(at.elapsed());
            }
            Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(client) = clients.join_next().await {
        took.extend(client.map_err(|error| LabError::failed("a client", error))??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = numbers(&http, &url).await?;
    let [events, commits, fsyncs] = std::array::from_fn(|number| (after[number] - before[number]) / seconds);
    let batches = took.len() as f64 / seconds;
    Ok(Measure { size, events, batches, commits, fsyncs, median: middle(took), ..Measure::default() })
}

/// Events, commits and confirmations so far.
async fn numbers(http: &reqwest::Client, url: &str) -> Result<[f64; 3], LabError> {
    let text = http.get(format!("{url}/metrics")).send().await?.error_for_status()?.text().await?;
    let read = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("_total ")?.parse().ok());
        line.ok_or_else(|| LabError::failed("/metrics", format!("there is no {name}")))
    };
    Ok([read("slipway_events_filed")?, read("slipway_events_commits")?, read("slipway_events_fsyncs")?])
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { clients, lasts, .. } = &self.settings;
        writeln!(f, "{clients} clients, {} s each, {} bytes a line", lasts.as_secs(), self.line)?;
        writeln!(f)?;
        writeln!(
            f,
            "| events a batch | what | events/s | batches/s | commits/s | fsyncs/s | a batch takes (median) | of the disk alone |"
        )?;
        write!(f, "|---|---|---|---|---|---|---|---|")?;
        for measure in &self.measures {
            let Measure { size, events, batches, commits, fsyncs, median, ratio, .. } = measure;
            let what =
                measure.pace.map_or("disk alone, one after the other".to_owned(), |pace| format!("commit_ms = {pace}"));
            let ms = median.as_secs_f64() * 1_000.0;
            write!(
                f,
                "\n| {size} | {what} | {events:.0} | {batches:.0} | {commits:.0} | {fsyncs:.0} | {ms:.1} ms | {ratio:.2} |"
            )?;
        }
        Ok(())
    }
}
