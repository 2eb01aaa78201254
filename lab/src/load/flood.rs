//! A flood of requests: each is accepted or refused with 429, the processes stay small, and what was accepted ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::ids;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    ends::{self, Ends},
    ground::{Ground, START},
    memory::{Memory, Used, mib},
    table, verdict,
};
use crate::{
    client::Client,
    failure::LabError,
    soak::{Size, Spread, Tell},
};

/// What a process may grow by, in KiB, however many requests there are: what its bounds allow at once, which is 64 requests (`http.requests_at_once`) with
/// bodies of 2 MiB (`http.body_limit`), and 16 KiB for each of 4,096 connections (`http.connections`).
pub const GROWTH: u64 = 64 * (2 << 10) + 4_096 * 16;

const DEPLOYMENTS: usize = 50;
/// So many requests wait for their answers at most: the flood is of requests, not of our own sockets.
const IN_FLIGHT: usize = 2_000;
/// Requests are made in bursts of so many a second.
const BURSTS: u32 = 100;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `slipway` binary.
    pub binary: PathBuf,
    /// Which processes there are.
    pub size: Size,
    /// Requests in a second.
    pub rate: u32,
    /// For so many seconds.
    pub seconds: u32,
    /// How many workers; the embedded size has one process.
    pub workers: usize,
    /// So many keys are used in turn; the bounds are for each.
    pub keys: usize,
    /// What `http.key_requests_per_second` and `http.key_burst` are set to: what is accepted really runs, which takes its time.
    pub key_rate: u32,
    /// See there.
    pub key_burst: u32,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    settings: Settings,
    /// Requests that were made, and how long it took to make them.
    pub requested: usize,
    lasted: Duration,
    /// Updates that were accepted.
    pub accepted: usize,
    /// Requests that were refused with 429.
    pub limited: usize,
    /// All other answers, which should not be.
    pub others: BTreeMap<String, usize>,
    accepted_in: Spread,
    limited_in: Spread,
    memory: Vec<Used>,
    ends: Ends,
    ended_in: Duration,
}

enum Answer {
    Accepted(i64),
    Limited,
    Other(String),
}

/// Makes the flood, and waits for its end.
///
/// # Errors
/// When a part can't be made. A broken promise is no error: it stands in the report.
pub async fn run(settings: &Settings, tell: Tell) -> Result<Report, LabError> {
    let mut ground = Ground::build(&settings.binary, settings.size).await?;
    ground.start(settings.workers).await?;
    let deployments = ground.furnish(DEPLOYMENTS).await?;
    let mut clients = Vec::new();
    for number in 0..settings.keys.max(1) {
        let document = "mutation($label: String!) { createApiKey(label: $label) { secret refusals { code message } } }";
        let made = ground.client()?.ask(document, json!({ "label": format!("flood {number}") })).await?;
        clients.push(ground.client_with(made["secret"].as_str().unwrap_or_default())?);
    }
    // What was furnished is not a part of the flood.
    ground.stop().await?;
    ground.set("SLIPWAY_HTTP_KEY_REQUESTS_PER_SECOND", settings.key_rate);
    ground.set("SLIPWAY_HTTP_KEY_BURST", settings.key_burst);
    ground.start(settings.workers).await?;

    tell(&format!("{} requests a second for {} s.", settings.rate, settings.seconds));
    let memory = Memory::watch(ground.processes());
    let first = ids::fresh();
    let (answers, lasted) = flood(settings, &clients, &deployments).await;
    let mut report = Report {
        settings: settings.clone(),
        requested: answers.len(),
        lasted,
        accepted: 0,
        limited: 0,
        others: BTreeMap::new(),
        accepted_in: Spread::default(),
        limited_in: Spread::default(),
        memory: Vec::new(),
        ends: Ends::default(),
        ended_in: Duration::ZERO,
    };
    let (mut accepted, mut accepted_in, mut limited_in) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (answer, us) in answers {
        match answer {
            Answer::Accepted(run) => {
                accepted.insert(run);
                accepted_in.push(us);
            }
            Answer::Limited => limited_in.push(us),
            Answer::Other(what) => *report.others.entry(what).or_default() += 1,
        }
    }
    (report.accepted, report.limited) = (accepted.len(), limited_in.len());
    report.accepted_in = Spread::of(accepted_in.into_iter());
    report.limited_in = Spread::of(limited_in.into_iter());
    tell(&format!("{} were accepted. Waiting until all of them have ended.", report.accepted));
    let began = Instant::now();
    report.ends = ends::until_ended(&ground.db().await?, first, &accepted).await?;
    report.ended_in = began.elapsed();
    report.memory = memory.used();
    if !report.is_good() {
        tell(&format!("The processes' logs stay in {}.", ground.keep().display()));
    }
    Ok(report)
}

/// Every answer, with how long it took in microseconds; and how long it took to ask.
async fn flood(settings: &Settings, clients: &[Client], deployments: &[String]) -> (Vec<(Answer, i64)>, Duration) {
    let (total, burst) = (settings.rate * settings.seconds, (settings.rate / BURSTS).max(1));
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut pace = interval(Duration::from_secs(1) * burst / settings.rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut asked, began) = (JoinSet::new(), Instant::now());
    for (number, (client, deployment)) in (0..total).zip(clients.iter().cycle().zip(deployments.iter().cycle())) {
        if number % burst == 0 {
            pace.tick().await;
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let (client, variables) = (client.clone(), json!({ "id": deployment }));
        asked.spawn(async move {
            let began = Instant::now();
            let answer = ask(&client, variables).await;
            drop(place);
            (answer, i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX))
        });
    }
    let lasted = began.elapsed();
    (asked.join_all().await, lasted)
}

async fn ask(client: &Client, variables: Value) -> Answer {
    let (status, answer) = match client.raw(START, variables).await {
        Ok(answered) => answered,
        Err(error) if error.is_timeout() => return Answer::Other("no answer in time".to_owned()),
        Err(_) => return Answer::Other("no answer".to_owned()),
    };
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    let start = &answer["data"]["startUpdate"];
    match (status.as_u16(), code, start["update"]["id"].as_str().and_then(|id| id.parse().ok())) {
        (200, None, Some(run)) => Answer::Accepted(run),
        (429, Some("RATE_LIMITED"), _) => Answer::Limited,
        (status, code, _) => {
            let code = code.or(start["refusals"][0]["code"].as_str()).unwrap_or("no code");
            Answer::Other(format!("{status} {code}"))
        }
    }
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.broken().is_empty()
    }

    /// Every promise that was broken, in a sentence each.
    pub fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> = self.ends.broken().collect();
        broken.extend(self.others.iter().map(|(what, count)| format!("{count} requests were answered with {what}")));
        let grown = self.memory.iter().filter(|used| used.grown() > GROWTH);
        broken.extend(grown.map(|used| format!("{} grew by {}", used.process, mib(used.grown()))));
        broken
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { rate, seconds, keys, key_rate, key_burst, .. } = &self.settings;
        let took = |spread: &Spread| {
            let ms = |percent| spread.percentile(percent) / 1_000;
            format!("{}: p50 {} ms, p99 {} ms, max {} ms", spread.count(), ms(50), ms(99), ms(100))
        };
        let others: Vec<String> = self.others.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        let memory: Vec<String> = self.memory.iter().map(Used::to_string).collect();
        let per_second = self.requested as f64 / self.lasted.as_secs_f64();
        table(
            f,
            &[
                ("wanted", format!("{rate} requests a second for {seconds} s, with {keys} keys")),
                ("bounds of each key", format!("{key_rate} a second, {key_burst} at once")),
                ("requested", format!("{}, {per_second:.0} a second", self.requested)),
                ("accepted", took(&self.accepted_in)),
                ("refused with 429", took(&self.limited_in)),
                ("other answers", if others.is_empty() { "0".to_owned() } else { others.join("\n") }),
                ("memory", memory.join("\n")),
                ("  it may grow by", mib(GROWTH)),
                ("ended", format!("{}, the last {} s after the flood", self.ends.told(), self.ended_in.as_secs())),
                ("lost", self.ends.lost.len().to_string()),
                ("refused, and there all the same", self.ends.unasked.len().to_string()),
            ],
        )?;
        verdict(f, &self.broken())
    }
}
