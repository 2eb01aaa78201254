//! A long line of updates: what a look, a claim and a sweep cost with it, what Redis and the processes keep of it, and whether updates that
//! come after it end.

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use engine::{
    db::{Db, Use},
    ids::{self, RunId, WorkerId},
    journal::{Kind, NewEvent},
    queue::{MOST, Queue, Redis, RedisTls},
    runs::{
        Op,
        due::{self, Place},
        figures,
    },
    store::Store,
};
use serde_json::json;

use super::{
    ends::{self, Ends},
    ground::{Ground, PREFIX, START},
    line::{self, Rows},
    memory::{mib, resident},
    table, verdict,
};
use crate::{
    failure::LabError,
    servers::redis,
    soak::{Size, Tell},
    until::until,
};

/// The short line, which the long ones are compared with.
const SHORT: i64 = 1_000;
/// For each run that waits so many have ended.
const ENDED: i64 = 10;
/// Each cost is the least of so many: a machine does other things, too.
const TIMES: i64 = 10;
/// As many as a sweep asks for.
const FOUND: u64 = 1_000;
const DEPLOYMENTS: usize = 10;
const WORKERS: usize = 1;
const PATIENCE: Duration = Duration::from_secs(120);
/// Bells are rung no faster than a process sends them.
const BATCH: i64 = 250;
const PACE: Duration = Duration::from_millis(5);

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `slipway` binary.
    pub binary: PathBuf,
    /// Which processes there are.
    pub size: Size,
    /// The length of the line.
    pub runs: i64,
    /// So many updates really run before there is a line, and as many with it.
    pub updates: usize,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    updates: usize,
    lines: Vec<Costs>,
    redis: Option<Kept>,
    /// Of each process, in KiB, after its updates: without the line, and with it.
    memory: Vec<(String, u64, u64)>,
    ends: [Ends; 2],
}

/// What it costs with so many that wait.
#[derive(Debug)]
struct Costs {
    waiting: i64,
    head: Duration,
    behind: Duration,
    claim: Duration,
    sweep: Duration,
    figures: Duration,
}

/// What Redis keeps.
#[derive(Debug)]
struct Kept {
    /// When the first updates had ended, when all that wait had been rung, and when the next updates had ended.
    before: Redises,
    rung: Redises,
    after: Redises,
}

/// What lies in Redis.
#[derive(Clone, Copy, Debug)]
struct Redises {
    bells: usize,
    keys: usize,
    bytes: usize,
}

/// Measures it all.
///
/// # Errors
/// When a part can't be made or measured. A broken promise is no error: it stands in the report.
pub async fn run(settings: &Settings, tell: Tell) -> Result<Report, LabError> {
    let mut ground = Ground::build(&settings.binary, settings.size).await?;
    let mut lengths = vec![SHORT.min(settings.runs), settings.runs / 10, settings.runs];
    lengths.dedup();
    lengths.retain(|length| *length >= SHORT || *length == settings.runs);
    let mut lines = Vec::new();
    for (at, waiting) in lengths.into_iter().enumerate() {
        tell(&format!(
            "A line of {waiting} updates of as many deployments, {waiting} behind one, {} that ended.",
            waiting * ENDED
        ));
        lines.push(Costs::measure(&ground.empty_db(&format!("line-{at}")).await?, waiting).await?);
    }

    tell(&format!("{} updates run without a line.", settings.updates));
    ground.start(WORKERS).await?;
    let deployments = ground.furnish(DEPLOYMENTS).await?;
    let first = round(&ground, &deployments, settings.updates).await?;
    let before = idle(&ground).await?;
    let without = memory(&ground);
    ground.stop_workers().await?;

    let (parked, behind) = (settings.runs / 2, settings.runs - settings.runs / 2);
    tell(&format!(
        "{parked} parked updates, {behind} behind one that is stuck, and {} that ended.",
        settings.runs * ENDED
    ));
    let db = ground.db().await?;
    line::fill(&db, 1, settings.runs * ENDED, Rows::Ended).await?;
    let from = settings.runs * ENDED + 1;
    line::fill(&db, from, parked, Rows::Parked).await?;
    line::fill(&db, from + parked, behind, Rows::Behind).await?;
    line::count_tables(&db).await?;
    let rung = ring(&ground, from..from + settings.runs).await?;

    tell(&format!("{} updates run with it.", settings.updates));
    ground.start(WORKERS).await?;
    let second = round(&ground, &deployments, settings.updates).await?;
    let after = idle(&ground).await?;
    let with = memory(&ground);
    let redis = before.zip(rung).zip(after).map(|((before, rung), after)| Kept { before, rung, after });
    let memory = without.into_iter().zip(with).map(|((name, before), (_, after))| (name, before, after)).collect();
    let report = Report { updates: settings.updates, lines, redis, memory, ends: [first, second] };
    if !report.is_good() {
        tell(&format!("The processes' logs stay in {}.", ground.keep().display()));
    }
    Ok(report)
}

impl Costs {
    /// Fills an empty database, and measures.
    async fn measure(db: &Db, waiting: i64) -> Result<Self, LabError> {
        let due = waiting * ENDED + 1;
        let behind = due + waiting;
        line::fill(db, 1, waiting * ENDED, Rows::Ended).await?;
        line::fill(db, due, waiting, Rows::Due).await?;
        line::fill(db, behind, waiting, Rows::Behind).await?;
        line::count_tables(db).await?;
        let worker = WorkerId(ids::fresh());
        Store::register(db, worker, None, "lab", &json!({}), 3_600_000_000).await?;
        // As a worker's writer has it.
        let journal = db.another(Use::Journal).await?;
        let place = Place { requested_at: behind * 1_000, run: behind };
        let mut costs = Self {
            waiting,
            head: Duration::MAX,
            behind: Duration::MAX,
            claim: Duration::MAX,
            sweep: Duration::MAX,
            figures: Duration::MAX,
        };
        for time in 0..TIMES {
            let began = Instant::now();
            due::look(db, Place::default(), FOUND).await?;
            costs.head = costs.head.min(began.elapsed());

            let began = Instant::now();
            due::look(db, place, FOUND).await?;
            costs.behind = costs.behind.min(began.elapsed());

            let began = Instant::now();
            claim(&*journal, RunId(due + waiting / 2 + time), worker).await?;
            costs.claim = costs.claim.min(began.elapsed());

            let began = Instant::now();
            due::sweep(db, true, 0, i64::MAX / 2).await?;
            due::look(db, Place::default(), FOUND).await?;
            due::held_by(db, worker).await?;
            due::cancels(db, worker).await?;
            costs.sweep = costs.sweep.min(began.elapsed());

            let began = Instant::now();
            figures::read(db).await?;
            costs.figures = costs.figures.min(began.elapsed());
        }
        Ok(costs)
    }

    fn all(&self) -> [Duration; 5] {
        [self.head, self.behind, self.claim, self.sweep, self.figures]
    }
}

async fn claim(store: &dyn Store, run: RunId, worker: WorkerId) -> Result<(), LabError> {
    let failed = |why: String| LabError::failed("a claim", why);
    let loaded = store.load(run).await.map_err(|error| failed(error.to_string()))?;
    let loaded = loaded.ok_or_else(|| failed("the run is not there".to_owned()))?;
    let events = [NewEvent::run(Kind::claimed(worker, false))];
    let op = Op::claim(run, &loaded.state, worker, &events).map_err(|error| failed(error.to_string()))?;
    match store.commit(&[&op]).await?.len() {
        1 => Ok(()),
        _ => Err(failed("it was refused".to_owned())),
    }
}

/// Updates really run: as many as are wanted, over all deployments in turn.
async fn round(ground: &Ground, deployments: &[String], updates: usize) -> Result<Ends, LabError> {
    let (client, mut accepted, first) = (ground.client()?, BTreeSet::new(), ids::fresh());
    for deployment in deployments.iter().cycle().take(updates) {
        let answer = client.ask(START, json!({ "id": deployment })).await?;
        let id = answer["update"]["id"].as_str().and_then(|id| id.parse().ok());
        accepted.insert(id.ok_or_else(|| LabError::failed("a request", &answer))?);
    }
    ends::until_ended(&ground.db().await?, first, &accepted).await
}

/// What Redis holds when all bells have been heard; None without Redis.
async fn idle(ground: &Ground) -> Result<Option<Redises>, LabError> {
    let Some(footing) = &ground.footing else { return Ok(None) };
    // Bells that nobody hears are for the report to say.
    let heard = until("an empty queue", PATIENCE, || async {
        Redises::look(&footing.redis).await.ok().filter(|redis| redis.bells == 0)
    });
    match heard.await {
        Ok(redis) => Ok(Some(redis)),
        Err(_) => Redises::look(&footing.redis).await.map(Some),
    }
}

/// Rings all of these, as an API does, while no worker listens.
async fn ring(ground: &Ground, runs: std::ops::Range<i64>) -> Result<Option<Redises>, LabError> {
    let Some(footing) = &ground.footing else { return Ok(None) };
    let redis = Redis::new(&footing.redis.url(), &RedisTls::default());
    let queue = Queue::redis(redis.map_err(|error| LabError::failed("the queue", error))?, PREFIX);
    let wanted = usize::try_from(runs.end - runs.start).unwrap_or(MOST).min(MOST);
    for run in runs {
        queue.ring(RunId(run));
        if run % BATCH == 0 {
            tokio::time::sleep(PACE).await;
        }
    }
    let rung = until("bells in Redis", PATIENCE, || async {
        // None is on its way any more.
        let all = |redis: &Redises| redis.bells >= wanted && redis.bells == queue.waiting();
        Redises::look(&footing.redis).await.ok().filter(all)
    });
    rung.await.map(Some)
}

fn memory(ground: &Ground) -> Vec<(String, u64)> {
    ground.processes().into_iter().map(|(name, pid)| (name, resident(pid))).collect()
}

impl Redises {
    async fn look(redis: &redis::Redis) -> Result<Self, LabError> {
        let number = |line: String| async move {
            let said = redis.command(&line).await?;
            // Of a key that is not there it says `$-1`.
            Ok::<usize, LabError>(said.strip_prefix(':').and_then(|number| number.parse().ok()).unwrap_or(0))
        };
        Ok(Self {
            bells: number(format!("LLEN {{{PREFIX}}}:jobs")).await?,
            keys: number("DBSIZE".to_owned()).await?,
            bytes: number(format!("MEMORY USAGE {{{PREFIX}}}:jobs")).await?,
        })
    }
}

impl fmt::Display for Redises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bells, {} keys, {} bytes", self.bells, self.keys, self.bytes)
    }
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.broken().is_empty()
    }

    /// How many bells waited in Redis when every update that waits had been rung; None without Redis.
    pub fn bells(&self) -> Option<usize> {
        self.redis.as_ref().map(|kept| kept.rung.bells)
    }

    /// Every promise that was broken, in a sentence each. What something costs is no promise.
    pub fn broken(&self) -> Vec<String> {
        let mut broken: Vec<String> = self.ends.iter().flat_map(Ends::broken).collect();
        if let Some(Kept { before, rung, after }) = &self.redis {
            if rung.bells > MOST {
                broken.push(format!("{} bells wait, and {MOST} may", rung.bells));
            }
            if after.keys > before.keys || after.bytes > before.bytes {
                broken.push(format!("Redis keeps something of updates that have ended: {before}, then {after}"));
            }
        }
        broken
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(short), Some(long)) = (self.lines.first(), self.lines.last()) else { return Ok(()) };
        write!(f, "{:<46}", "updates that wait, twice")?;
        self.lines.iter().try_for_each(|line| write!(f, " {:>12}", line.waiting))?;
        writeln!(f, "    ratio")?;
        let names = [
            "a look at the head of the line",
            "a look where all wait behind one",
            "a claim, with its journal read",
            "a whole sweep",
            "the fleet's figures for /metrics",
        ];
        for (at, name) in names.into_iter().enumerate() {
            write!(f, "{name:<46}")?;
            for line in &self.lines {
                write!(f, " {:>9.2} ms", line.all()[at].as_secs_f64() * 1_000.0)?;
            }
            let ratio = long.all()[at].as_secs_f64() / short.all()[at].as_secs_f64();
            writeln!(f, " {:>8}", format!("x{ratio:.1}"))?;
        }
        let mut rows = Vec::new();
        if let Some(Kept { before, rung, after }) = &self.redis {
            rows.push(("Redis, when updates had ended", before.to_string()));
            rows.push(("  when all that wait had been rung", format!("{rung} (at most {MOST} bells)")));
            rows.push(("  when as many updates again had ended", after.to_string()));
        }
        let memory: Vec<String> = self
            .memory
            .iter()
            .map(|(name, without, with)| format!("{name}: {} without the line, {} with it", mib(*without), mib(*with)))
            .collect();
        rows.push(("memory, after as many updates", memory.join("\n")));
        let [first, second] = &self.ends;
        rows.push(("updates requested without and with the line", format!("{0} and {0}", self.updates)));
        rows.push(("  ended", format!("{}\n{}", first.told(), second.told())));
        rows.push(("  lost", (first.lost.len() + second.lost.len()).to_string()));
        table(f, &rows)?;
        verdict(f, &self.broken())
    }
}
