//! The seats of one worker process. A job is read from the queue only when a seat is free for it, so that a busy process never holds a job
//! that an idle one could run.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::ids::RunId;

/// A run to look at, and the seat that it takes; dropping the job frees the seat.
#[derive(Debug)]
pub struct Job {
    /// Which run.
    pub run: RunId,
    _seat: OwnedSemaphorePermit,
}

/// The seats of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Seats {
    free: Arc<Semaphore>,
    total: usize,
    jobs: mpsc::Sender<Job>,
    taken: Arc<Mutex<Option<mpsc::Receiver<Job>>>>,
}

impl Seats {
    /// This many runs at once.
    pub fn new(total: usize) -> Self {
        let (jobs, receiver) = mpsc::channel(total.max(1));
        Self { free: Arc::new(Semaphore::new(total)), total, jobs, taken: Arc::new(Mutex::new(Some(receiver))) }
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many are free now.
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// No new runs: readers end, and the backend ends with them. Runs under way keep their seats.
    pub fn close(&self) {
        self.free.close();
    }

    /// Whether [`Seats::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.free.is_closed()
    }

    /// Looks at a run that a sweep found, if a seat is free right now.
    pub fn offer(&self, run: RunId) -> bool {
        let Ok(seat) = Arc::clone(&self.free).try_acquire_owned() else { return false };
        self.jobs.try_send(Job { run, _seat: seat }).is_ok()
    }

    /// Waits for a free seat; None once closed.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Takes more seats, as far as they are free now.
    pub(super) fn take_more(&self, most: usize) -> Vec<OwnedSemaphorePermit> {
        std::iter::from_fn(|| Arc::clone(&self.free).try_acquire_owned().ok()).take(most).collect()
    }

    pub(super) async fn fill(&self, run: RunId, seat: OwnedSemaphorePermit) {
        // Only fails when the backend has ended: the sweep of another worker finds the run.
        let _ = self.jobs.send(Job { run, _seat: seat }).await;
    }

    /// The jobs, for a consumer that is not [`super::backend`]; None when somebody has them already.
    #[cfg(feature = "simulated")]
    pub fn jobs(&self) -> Option<mpsc::Receiver<Job>> {
        self.receiver()
    }

    /// The receiving end, once.
    pub(super) fn receiver(&self) -> Option<mpsc::Receiver<Job>> {
        self.taken.try_lock().ok()?.take()
    }
}
