//! The one writer: it takes all batches that wait, and files them in one commit. Whoever waits is answered when the disk has confirmed.

mod doubt;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use doubt::Doubt;
use engine::clock;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    batch::Batch,
    error::EventError,
    ledger::{
        BatchId, Intent, Known, Log,
        house::{House, Left},
    },
    metrics::Metrics,
    server::Receipt,
    settings::Settings,
    shelf::Shelf,
};

/// No more lines than this go into one commit, but for a single larger batch; in bytes.
const COMMIT_BYTES: usize = 32 << 20;
/// Files that are put at once.
const AT_ONCE: usize = 8;
/// How often dead processes are looked for.
const LOOK: Duration = Duration::from_secs(15);

/// A batch on its way to the store.
pub(crate) struct Submission {
    pub(crate) batch: Batch,
    pub(crate) answer: oneshot::Sender<Result<Receipt, EventError>>,
    /// Its share of the memory, until it is filed.
    pub(crate) share: OwnedSemaphorePermit,
}

pub(crate) struct Filer {
    shelf: Arc<dyn Shelf>,
    house: House,
    log: Arc<Mutex<Log>>,
    known: Known,
    pace: Duration,
    micros: i64,
    /// Commits of this process so far.
    number: u64,
    /// What a failed commit may have left: it goes before the next one.
    undo: Option<Undo>,
    doubt: Doubt,
    /// How long something is in doubt; zero where the store does nothing of itself.
    settle: Duration,
    healthy: Arc<AtomicBool>,
    metrics: Metrics,
}

struct Undo {
    files: Vec<String>,
    intent: Option<u64>,
}

/// Batches with the same id in one commit: the first is filed, the others are answered like it.
type Senders = Vec<(oneshot::Sender<Result<Receipt, EventError>>, u64, bool)>;

impl Filer {
    pub(crate) async fn open(
        shelf: Arc<dyn Shelf>,
        house: House,
        settings: &Settings,
        healthy: Arc<AtomicBool>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let (most, micros) = (settings.remember_batches, settings.remember_micros());
        let log = Log::create(house.own(), most, micros)?;
        let settle = if shelf.lingers() { settings.settle() } else { Duration::ZERO };
        let mut filer = Self {
            shelf,
            house,
            log: Arc::new(Mutex::new(log)),
            known: Known::new(most, micros),
            pace: settings.pace(),
            micros,
            number: 0,
            undo: None,
            doubt: Doubt::default(),
            settle,
            healthy,
            metrics,
        };
        filer.adopt().await?;
        Ok(filer)
    }

    /// Files what comes until nobody can send any more.
    pub(crate) async fn run(mut self, mut waiting: mpsc::Receiver<Submission>, closing: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Instant::now();
        loop {
            let due = self.doubt.next();
            let first = tokio::select! {
                first = waiting.recv() => first,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.settle_due().await;
                    continue;
                }
                _ = look.tick() => {
                    if let Err(error) = self.adopt().await {
                        tracing::warn!(error = %error, "what other event servers left could not be looked at; this goes on");
                    }
                    self.look_again().await;
                    continue;
                }
            };
            let Some(first) = first else { break };
            tokio::select! {
                () = sleep_until(next) => {}
                // At the end nobody waits for more.
                () = closing.cancelled() => {}
            }
            next = Instant::now() + self.pace;
            let mut bytes = first.batch.bytes();
            let mut group = vec![first];
            while bytes < COMMIT_BYTES
                && let Ok(more) = waiting.try_recv()
            {
                bytes = bytes.saturating_add(more.batch.bytes());
                group.push(more);
            }
            self.metrics.waiting.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
            self.commit(group).await;
        }
        if let Err(error) = self.log.lock().unwrap_or_else(PoisonError::into_inner).confirm() {
            tracing::warn!(error = %error, "the ledger of filed batches was not confirmed at the end");
        }
    }

    async fn commit(&mut self, group: Vec<Submission>) {
        let began = std::time::Instant::now();
        let mut shares = Vec::new();
        let mut senders = Senders::new();
        let mut first: HashMap<BatchId, _> = HashMap::new();
        let mut lines: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut batches = Vec::new();
        let mut events = 0;
        for Submission { batch, answer, share } in group {
            let known = batch.id.and_then(|(id, _)| self.known.find(&id));
            if batch.id.is_some_and(|(id, _)| self.doubt.holds(&id)) {
                self.metrics.count("doubtful");
                reply(answer, Err(EventError::InDoubt));
                continue;
            }
            let beside = batch.id.and_then(|(id, _)| first.get(&id).copied());
            match (batch.id, known, beside) {
                (Some((_, digest)), Some(filed), _) | (Some((_, digest)), None, Some(filed)) if filed != digest => {
                    self.metrics.count("mismatch");
                    reply(answer, Err(EventError::Mismatch));
                    continue;
                }
                (_, Some(_), _) => {
                    self.metrics.count("duplicate");
                    reply(answer, Ok(Receipt { events: batch.events, duplicate: true }));
                    continue;
                }
                (_, None, Some(_)) => {
                    senders.push((answer, batch.events, true));
                    continue;
                }
                (id, None, None) => {
                    if let Some((id, digest)) = id {
                        first.insert(id, digest);
                        batches.push((id, digest));
                    }
                }
            }
            for (folder, content) in batch.files {
                let file = lines.entry(folder).or_default();
                if file.is_empty() {
                    *file = content;
                } else {
                    file.extend_from_slice(&content);
                }
            }
            events += batch.events;
            senders.push((answer, batch.events, false));
            shares.push(share);
        }
        if senders.is_empty() {
            return;
        }
        let size: usize = lines.values().map(Vec::len).sum();
        let filed = self.put(lines, batches).await;
        self.healthy.store(filed.is_ok(), Ordering::Relaxed);
        match &filed {
            Ok(()) => {
                self.metrics.commits.inc();
                self.metrics.events.inc_by(events);
                self.metrics.bytes.inc_by(size as u64);
                self.metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
            }
            Err(error) => {
                let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(code = error.code().as_str(), error = %error, cause = source, batches = senders.len(), "events could not be filed");
            }
        }
        for (answer, events, duplicate) in senders {
            self.metrics.count(match (&filed, duplicate) {
                (Ok(()), false) => "filed",
                (Ok(()), true) => "duplicate",
                (Err(_), _) => "failed",
            });
            reply(answer, filed.as_ref().map(|()| Receipt { events, duplicate }).map_err(EventError::again));
        }
        drop(shares);
    }

    /// One commit: all of it, or an error and nothing.
    async fn put(
        &mut self,
        lines: BTreeMap<String, Vec<u8>>,
        batches: Vec<(BatchId, crate::ledger::Digest)>,
    ) -> Result<(), EventError> {
        self.clean().await?;
        self.number += 1;
        let (n, at) = (self.number, clock::now_micros());
        let stamp = Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y%m%dT%H%M%S%6f");
        // Names sort by time, and no other process makes the same.
        let name = format!("{stamp}-{}-{n}.jsonl", self.house.mark());
        let files: Vec<(String, Bytes)> =
            lines.into_iter().map(|(folder, lines)| (format!("{folder}/{name}"), lines.into())).collect();
        let paths = files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        let intent = Intent { n, at, files: paths.clone(), batches };
        // One file of batches without an id is there or not: nothing is left to settle.
        let recorded = !intent.batches.is_empty() || intent.files.len() > 1;
        self.undo = Some(Undo { files: paths, intent: recorded.then_some(n) });
        if recorded {
            let written = intent.clone();
            let confirmed = self.logged("noting what is about to be filed", move |log| log.intend(&written)).await;
            let confirmations = self.or_clean(confirmed).await?;
            self.metrics.confirmations.inc_by(confirmations);
        }
        let shelf = &self.shelf;
        // Each one is waited for, also after a failure: one that is left alone may appear when all was taken back.
        let put: Vec<io::Result<u64>> =
            stream::iter(files.into_iter().map(|(path, content)| async move { shelf.put(&path, content).await }))
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
        let files = put.len() as u64;
        let put = put.into_iter().sum::<io::Result<u64>>().map_err(EventError::io("putting the file of events"));
        let confirmations = self.or_clean(put).await?;
        self.metrics.files.inc_by(files);
        self.metrics.confirmations.inc_by(confirmations);
        self.undo = None;
        if recorded {
            // Not confirmed by the disk: if it is lost, the files themselves say that it was done.
            if let Err(error) = self.logged("noting what was filed", move |log| log.done(n)).await {
                tracing::warn!(error = %error, "what was filed could not be noted; the next intent says it, too");
            }
            self.known.add(&intent, at);
            self.metrics.known.set(i64::try_from(self.known.len()).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    async fn or_clean<T>(&mut self, result: Result<T, EventError>) -> Result<T, EventError> {
        if result.is_err()
            && let Err(error) = self.clean().await
        {
            tracing::warn!(error = %error, "what a failed commit left is still there; nothing is filed before it is gone");
        }
        result
    }

    /// Takes back what a failed commit may have left. Until that worked nothing else is filed: a batch that is sent again must not be there twice.
    async fn clean(&mut self) -> Result<(), EventError> {
        let Some(Undo { files, intent }) = &self.undo else { return Ok(()) };
        for file in files {
            self.shelf.remove(file).await.map_err(EventError::io("taking back what an earlier commit left"))?;
        }
        if let Some(n) = *intent {
            self.logged("noting what was taken back", move |log| log.void(n)).await?;
        }
        self.undo = None;
        Ok(())
    }

    /// After a commit that failed nobody may send any more, since this process says that it is not ready: so it looks by itself whether the store works again.
    async fn look_again(&mut self) {
        if self.healthy.load(Ordering::Relaxed) {
            return;
        }
        let probe = format!("{}/{}/probe", crate::server::STATE, self.house.mark());
        let looked = async {
            self.clean().await?;
            let failed = || EventError::io("looking whether it works again");
            self.shelf.put(&probe, Bytes::from_static(b"probe\n")).await.map_err(failed())?;
            self.shelf.remove(&probe).await.map_err(failed())
        };
        match looked.await {
            Ok(()) => {
                self.healthy.store(true, Ordering::Relaxed);
                tracing::info!("the store of events works again");
            }
            Err(error) => tracing::warn!(error = %error, "the store of events still fails"),
        }
    }

    async fn logged<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Log) -> io::Result<T> + Send + 'static,
    ) -> Result<T, EventError> {
        let log = Arc::clone(&self.log);
        let work = spawn_blocking(move || work(&mut log.lock().unwrap_or_else(PoisonError::into_inner)));
        work.await.map_err(io::Error::other).and_then(|done| done).map_err(EventError::io(doing))
    }

    /// Takes over what dead processes left: the batches that they filed, and those that they were about to.
    async fn adopt(&mut self) -> io::Result<()> {
        let mut found = self.house.adopt(self.micros)?;
        found.sort_by_key(|left| left.intents.first().map(|intent| intent.at));
        let mut failed = Ok(());
        for left in found {
            let now = clock::now_micros();
            left.intents.iter().for_each(|intent| self.known.add(intent, now));
            match self.settle(&left, self.settle.is_zero()).await {
                Ok(true) => {}
                Ok(false) => self.doubt.add(left, self.settle),
                Err(error) => {
                    self.house.give_back(&left);
                    failed = Err(error);
                }
            }
        }
        self.metrics.known.set(i64::try_from(self.known.len()).unwrap_or(i64::MAX));
        failed
    }

    /// Settles what was in doubt for long enough.
    async fn settle_due(&mut self) {
        for left in self.doubt.take_due() {
            if let Err(error) = self.settle(&left, true).await {
                tracing::warn!(error = %error, "what a dead event server was about to file could not be settled; it is tried again");
                self.doubt.add(left, LOOK);
            }
        }
        self.metrics.known.set(i64::try_from(self.known.len()).unwrap_or(i64::MAX));
    }

    /// Finds out whether what a dead process was about to do is done, and remembers it. A part of it is taken back, as nobody was answered, once it is `complete`:
    /// no more of it can appear. Whether it is settled.
    async fn settle(&mut self, left: &Left, complete: bool) -> io::Result<bool> {
        let Some(open) = &left.open else { return Ok(true) };
        let mut there = Vec::new();
        for file in &open.files {
            if self.shelf.exists(file).await? {
                there.push(file);
            }
        }
        let done = there.len() == open.files.len();
        if !done && !complete {
            return Ok(false);
        }
        if !done {
            for file in &there {
                self.shelf.remove(file).await?;
            }
        }
        House::settle(left, done)?;
        if done {
            self.known.add(open, clock::now_micros());
        }
        tracing::info!(
            files = open.files.len(),
            there = there.len(),
            done,
            "settled what an event server was about to file when it died"
        );
        Ok(true)
    }
}

/// Whoever asked may have gone.
fn reply(answer: oneshot::Sender<Result<Receipt, EventError>>, what: Result<Receipt, EventError>) {
    if answer.send(what).is_err() {
        tracing::debug!("nobody waits for this answer any more");
    }
}

#[cfg(test)]
mod tests;
