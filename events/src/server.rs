//! The front of the Event Server: room for a batch, then the batch.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use engine::location::Location;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    batch::Batch,
    error::EventError,
    filer::{Filer, Submission},
    keys::Keys,
    ledger::{Digest, house::House},
    metrics::Metrics,
    settings::Settings,
    shelf::{Folder, Objects, Shelf},
};

/// Batches that wait to be filed; more wait in front.
const LINE: usize = 4_096;
/// Memory is counted in units of so many bytes.
const UNIT: usize = 1_024;
/// Under the location: no topic's folder begins with a dot.
pub(crate) const STATE: &str = ".slipway-event-server";

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How many events it holds.
    pub events: u64,
    /// It was filed before, under the same id; nothing was filed now.
    pub duplicate: bool,
}

/// Room for one batch in memory, held until it is filed.
#[derive(Debug)]
pub struct Place(OwnedSemaphorePermit);

impl Place {
    /// Gives back what is more than this many bytes need.
    #[must_use]
    pub fn shrunk_to(mut self, bytes: usize) -> Self {
        let more = self.0.num_permits().saturating_sub(units(bytes));
        drop(self.0.split(more));
        self
    }
}

/// A batch of this many bytes is in memory twice: as it came, and as lines.
fn units(bytes: usize) -> usize {
    bytes.saturating_mul(2) / UNIT + 1
}

/// The Event Server of one process.
#[derive(Debug)]
pub struct EventServer {
    settings: Settings,
    keys: Keys,
    metrics: Metrics,
    memory: Arc<Semaphore>,
    line: Mutex<Option<mpsc::Sender<Submission>>>,
    filer: Mutex<Option<JoinHandle<()>>>,
    healthy: Arc<AtomicBool>,
    closing: CancellationToken,
}

impl EventServer {
    /// Opens the store, settles what dead servers left there, and begins to file.
    ///
    /// # Errors
    /// [`EventError::KeysInvalid`], [`EventError::Location`], [`EventError::StateInvalid`], or [`EventError::NotFiled`] when a folder can't be used.
    pub async fn open(settings: Settings) -> Result<Self, EventError> {
        let opening = "opening its folder";
        let folder =
            |path: &Path| DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(EventError::io(opening));
        match (Location::parse(&settings.location)?, settings.state.as_str()) {
            (Location::Folder(root), "") => {
                folder(&root)?;
                let house = House::enter(&root.join(STATE)).map_err(EventError::io(opening))?;
                let shelf = Folder::new(&root, &house.under_way());
                Self::over(Arc::new(shelf), house, settings).await
            }
            (Location::Folder(_), _) => Err(EventError::StateInvalid(
                "it is for events in a bucket. In a folder, the notes of the servers lie beside the events: leave it empty.",
            )),
            (Location::Bucket(_), "") => Err(EventError::StateInvalid(
                "events in a bucket need a folder on this machine's disk, where the server notes what it files. Name one.",
            )),
            (Location::Bucket(bucket), state) => {
                bucket.check().await?;
                // What is noted is of this bucket, whatever else is noted beside it.
                let state = Path::new(state).join(format!("{:?}", Digest::of(&Sha256::digest(bucket.to_string()))));
                folder(&state)?;
                let house = House::enter(&state).map_err(EventError::io(opening))?;
                Self::over(Arc::new(Objects::new(bucket.store())), house, settings).await
            }
        }
    }

    /// The same over any store; `house` is on a disk of this machine, or one that all servers share.
    ///
    /// # Errors
    /// As [`EventServer::open`].
    pub async fn over(shelf: Arc<dyn Shelf>, house: House, settings: Settings) -> Result<Self, EventError> {
        let keys = Keys::load(&settings.keys, &settings.keys_file)?;
        let (metrics, healthy) = (Metrics::default(), Arc::new(AtomicBool::new(true)));
        let filer = Filer::open(shelf, house, &settings, Arc::clone(&healthy), metrics.clone());
        let filer = filer.await.map_err(EventError::io("settling what was left there"))?;
        let (line, waiting) = mpsc::channel(LINE);
        let memory = Arc::new(Semaphore::new((settings.memory / UNIT).min(Semaphore::MAX_PERMITS)));
        let closing = CancellationToken::new();
        let filer = Mutex::new(Some(tokio::spawn(filer.run(waiting, closing.clone()))));
        Ok(Self { settings, keys, metrics, memory, line: Mutex::new(Some(line)), filer, healthy, closing })
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who may send.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Its numbers.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the last commit worked, and batches are still taken.
    pub fn is_ready(&self) -> bool {
        self.healthy.load(Ordering::Relaxed) && self.line().is_some()
    }

    /// Room for a batch of so many bytes, which have not been read yet.
    ///
    /// # Errors
    /// [`EventError::Busy`] when there is none in time.
    pub async fn place(&self, bytes: usize) -> Result<Place, EventError> {
        let wanted = u32::try_from(units(bytes.min(self.settings.batch_bytes))).unwrap_or(u32::MAX);
        let place = Arc::clone(&self.memory).acquire_many_owned(wanted);
        match tokio::time::timeout(self.settings.wait(), place).await {
            Ok(Ok(permit)) => Ok(Place(permit)),
            Ok(Err(_)) | Err(_) => {
                self.metrics.count("busy");
                Err(EventError::Busy)
            }
        }
    }

    /// Files a batch, and returns when it is durable. A batch whose caller goes away is filed all the same.
    ///
    /// # Errors
    /// [`EventError::Mismatch`], [`EventError::Busy`], [`EventError::Stopping`] or [`EventError::NotFiled`]; nothing of it stays then.
    pub async fn file(&self, batch: Batch, place: Place) -> Result<Receipt, EventError> {
        let line = self.line().ok_or(EventError::Stopping)?;
        let (answer, answered) = oneshot::channel();
        match tokio::time::timeout(self.settings.wait(), line.send(Submission { batch, answer, share: place.0 })).await
        {
            Ok(Ok(())) => answered.await.unwrap_or(Err(EventError::Stopping)),
            Ok(Err(_)) => Err(EventError::Stopping),
            Err(_) => {
                self.metrics.count("busy");
                Err(EventError::Busy)
            }
        }
    }

    /// Counts a batch that was refused.
    pub fn refused(&self) {
        self.metrics.count("refused");
    }

    fn line(&self) -> Option<mpsc::Sender<Submission>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on no commit waits for its time: the end is near. Batches are still taken.
    pub fn hurry(&self) {
        self.closing.cancel();
    }

    /// Takes no new batches, files those that were taken, and ends.
    pub async fn close(&self) {
        drop(self.line.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.hurry();
        let filer = self.filer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(filer) = filer
            && let Err(error) = filer.await
        {
            tracing::error!(error = %error, "the writer of events ended badly");
        }
    }
}

#[cfg(test)]
impl EventServer {
    /// As if the process died.
    pub(crate) fn abort(&self) {
        if let Some(filer) = self.filer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            filer.abort();
        }
    }
}
