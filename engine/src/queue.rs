//! The job queue: at most once, a bell and no more. SQL is the truth, so whatever is lost here is found by the next sweep.
//!
//! * [`Queue`]: rings, from any process. Embedded over a channel, in a fleet over a Redis list.
//! * [`seats`]: how many runs this process takes at once; a job is only read once a seat is free.
//! * [`backend`]: what apalis polls.
//! * [`Redis`]: where Redis is, in each of its shapes.

mod address;
pub mod backend;
mod connect;
mod redis;
pub(crate) use self::redis::{PATIENCE, Pause};
pub mod seats;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};

pub use self::address::{Redis, RedisTls};
use self::seats::Seats;
use crate::ids::RunId;

/// How many bells wait at most, here or in Redis. One more wakes nobody sooner.
pub const MOST: usize = 10_000;

/// The version of the job message.
const VERSION: u32 = 1;

/// What goes through the queue: which run to look at, and nothing that anything is decided from.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Message {
    v: u32,
    run: RunId,
}

/// A handle for ringing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    bells: mpsc::Sender<RunId>,
    source: Source,
    away: Arc<Away>,
}

/// What this process knows of Redis, and which of its connections are away: the two fail and come back each by itself.
#[derive(Debug, Default)]
struct Away {
    ringer: AtomicBool,
    reader: AtomicBool,
    /// How many bells waited when the ringer last looked, at most two seconds ago.
    waiting: AtomicUsize,
}

#[derive(Clone, Debug)]
enum Source {
    Embedded(Arc<Mutex<mpsc::Receiver<RunId>>>),
    Redis { redis: Redis, key: Arc<str> },
}

impl Queue {
    /// The queue of a single process.
    pub fn embedded() -> Self {
        let (bells, receiver) = mpsc::channel(MOST);
        Self { bells, source: Source::Embedded(Arc::new(Mutex::new(receiver))), away: Arc::default() }
    }

    /// The queue of a fleet, on a Redis list. `prefix` keeps several installations on one Redis apart. Redis need not be there: ringing
    /// goes on trying, and the sweeper does its work meanwhile.
    pub fn redis(redis: Redis, prefix: &str) -> Self {
        let (bells, receiver) = mpsc::channel(MOST);
        let away = Arc::<Away>::default();
        // The hash tag keeps all keys of one installation in one slot of a Redis Cluster.
        let key: Arc<str> = format!("{{{prefix}}}:jobs").into();
        tokio::spawn(redis::push(redis.clone(), Arc::clone(&key), receiver, Arc::clone(&away)));
        Self { bells, source: Source::Redis { redis, key }, away }
    }

    /// A queue whose wires lie open: what is rung here comes out of the receiver, and what is sent into the sender is read here.
    #[cfg(feature = "simulated")]
    pub fn wired() -> (Self, mpsc::Receiver<RunId>, mpsc::Sender<RunId>) {
        let (bells, rung) = mpsc::channel(MOST);
        let (jobs, receiver) = mpsc::channel(1);
        let source = Source::Embedded(Arc::new(Mutex::new(receiver)));
        (Self { bells, source, away: Arc::default() }, rung, jobs)
    }

    /// Says that the queue cannot be reached, or can again.
    #[cfg(feature = "simulated")]
    pub fn set_away(&self, away: bool) {
        self.away.ringer.store(away, Ordering::Relaxed);
        self.away.reader.store(away, Ordering::Relaxed);
    }

    /// Wakes a worker for this run. Never waits and never fails: a bell that is lost costs one sweep.
    pub fn ring(&self, run: RunId) {
        if self.bells.try_send(run).is_err() {
            tracing::debug!(run.id = %run, "the queue is full; the sweep will find the run");
        }
    }

    /// How many bells wait to be heard, as far as known: what was rung here counts at once, what others rang or heard within two seconds.
    pub fn waiting(&self) -> usize {
        let unsent = self.bells.max_capacity() - self.bells.capacity();
        unsent + self.away.waiting.load(Ordering::Relaxed)
    }

    /// Redis is away: runs are found by sweeping alone.
    pub fn is_degraded(&self) -> bool {
        self.away.ringer.load(Ordering::Relaxed) || self.away.reader.load(Ordering::Relaxed)
    }

    /// Starts reading jobs into free seats. Called once by a worker process.
    pub fn feed(&self, seats: &Seats) {
        match &self.source {
            Source::Embedded(receiver) => {
                tokio::spawn(embedded(Arc::clone(receiver), seats.clone()));
            }
            Source::Redis { redis, key } => {
                tokio::spawn(redis::read(redis.clone(), Arc::clone(key), seats.clone(), Arc::clone(&self.away)));
            }
        }
    }
}

async fn embedded(receiver: Arc<Mutex<mpsc::Receiver<RunId>>>, seats: Seats) {
    let mut receiver = receiver.lock().await;
    while let Some(seat) = seats.take().await {
        let Some(run) = receiver.recv().await else { return };
        seats.fill(run, seat).await;
    }
}

/// Why a queue cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Not a Redis URL.
    #[error(
        "queue.redis_url is not a Redis URL: {0}. It looks like redis://USER:PASSWORD@HOST:6379/0, \
         redis+sentinel://USER:PASSWORD@HOST1:26379,HOST2:26379/MASTER/0 or redis+cluster://HOST1:6379,HOST2:6379; with TLS it begins with rediss."
    )]
    Url(&'static str),
    /// Certificates for a connection without TLS.
    #[error("queue.ca_file and queue.client_certificate_file need a URL in queue.redis_url that begins with rediss.")]
    NoTls,
    /// Not a file of certificates.
    #[error(
        "queue.ca_file holds no certificates of authorities in PEM (-----BEGIN CERTIFICATE-----), or one that cannot be read."
    )]
    Ca,
    /// Not a certificate with its key.
    #[error("queue.client_certificate_file and queue.client_key_file are not a certificate and its key in PEM.")]
    ClientCertificate,
}
