//! The emitter: a bounded queue in front, one task behind. A query hands its event over and goes on.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use engine::clock;
use serde_json::Value;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{Batch, Outlet, QueryLogMetrics};

/// What an emitter holds, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most events that wait.
    pub events: usize,
    /// The most bytes that wait.
    pub bytes: usize,
    /// The largest event, in bytes.
    pub event_bytes: usize,
    /// The most events of one batch.
    pub batch_events: usize,
    /// A batch is closed when it has so many bytes.
    pub batch_bytes: usize,
    /// An event waits so long for others, unless the emitter is ending.
    pub linger: Duration,
    /// A batch is tried again for so long, then dropped.
    pub patience: Duration,
    /// The pause after the first failed attempt; each next one is twice as long.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            events: 10_000,
            bytes: 32 << 20,
            event_bytes: 512 << 10,
            batch_events: 500,
            batch_bytes: 512 << 10,
            linger: Duration::from_secs(1),
            patience: Duration::from_secs(300),
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// Takes query events. Dropping it ends its task with what waits; [`Emitter::close`] sends that first.
#[derive(Debug)]
pub struct Emitter {
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something came, or the end.
    bell: Notify,
    bounds: Bounds,
    metrics: QueryLogMetrics,
    name: String,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<String>,
    bytes: usize,
    /// Taken from the queue, and not sent yet.
    under_way: usize,
    closed: bool,
    /// Dropped since the last line in the log said so.
    untold: usize,
    told: Option<Instant>,
}

/// Drops, and waiting, are told at most so often.
const TELL: Duration = Duration::from_secs(60);

impl Emitter {
    /// Starts one; `name` stands in the log, such as a deployment's id.
    pub fn start(
        outlet: Box<dyn Outlet>,
        routing_key: String,
        name: &str,
        bounds: Bounds,
        metrics: QueryLogMetrics,
    ) -> Self {
        let (queue, bell, name) = (Mutex::default(), Notify::new(), name.to_owned());
        let shared = Arc::new(Shared { queue, bell, bounds, metrics, name });
        let task = tokio::spawn(run(Arc::clone(&shared), outlet, routing_key));
        Self { shared, task: Some(task) }
    }

    /// Takes an event, and never waits: one for which there is no room is dropped and counted.
    pub fn emit(&self, client_event: &Value) {
        let text = client_event.to_string();
        let Bounds { events, bytes, event_bytes, .. } = self.shared.bounds;
        if text.len() > event_bytes {
            return self.shared.dropped("too_large", 1);
        }
        let mut queue = self.shared.lock();
        let room = queue.events.len() < events && queue.bytes.saturating_add(text.len()) <= bytes;
        if !room || queue.closed {
            drop(queue);
            return self.shared.dropped("full", 1);
        }
        queue.bytes += text.len();
        queue.events.push_back(text);
        self.shared.metrics.waiting.inc();
        drop(queue);
        self.shared.bell.notify_one();
    }

    /// Takes nothing more, sends what waits for at most `patience`, and answers how many events were dropped in the end.
    pub async fn close(mut self, patience: Duration) -> usize {
        self.shared.lock().closed = true;
        self.shared.bell.notify_one();
        if let Some(mut task) = self.task.take()
            && timeout(patience, &mut task).await.is_err()
        {
            task.abort();
            // Whatever it was about to do is over now.
            drop(task.await);
        }
        self.shared.give_up()
    }
}

impl Drop for Emitter {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            self.shared.give_up();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts, and tells from time to time.
    fn dropped(&self, reason: &'static str, events: usize) {
        self.metrics.count_dropped(reason, events);
        let mut queue = self.lock();
        queue.untold += events;
        let now = Instant::now();
        if queue.told.is_none_or(|told| now.duration_since(told) >= TELL) {
            let dropped = std::mem::take(&mut queue.untold);
            queue.told = Some(now);
            drop(queue);
            tracing::warn!(
                deployment.id = self.name,
                reason,
                dropped,
                "query events were dropped: {dropped} since the last such line"
            );
        }
    }

    /// What is left will not be sent.
    fn give_up(&self) -> usize {
        let mut queue = self.lock();
        queue.closed = true;
        let left = queue.events.len() + std::mem::take(&mut queue.under_way);
        queue.events.clear();
        queue.bytes = 0;
        drop(queue);
        self.metrics.waiting.dec_by(i64::try_from(left).unwrap_or(i64::MAX));
        if left > 0 {
            self.dropped("shutdown", left);
        }
        left
    }

    /// The next batch; None when it is closed and nothing waits.
    async fn next(&self) -> Option<Vec<String>> {
        let Bounds { batch_events, batch_bytes, linger, .. } = self.bounds;
        let mut until = None;
        loop {
            let rung = self.bell.notified();
            {
                let mut queue = self.lock();
                let full = queue.events.len() >= batch_events || queue.bytes >= batch_bytes || queue.closed;
                let late = until.is_some_and(|until| Instant::now() >= until);
                if !queue.events.is_empty() && (full || late) {
                    return Some(queue.take(batch_events, batch_bytes));
                }
                if queue.closed {
                    return None;
                }
                if !queue.events.is_empty() {
                    until.get_or_insert_with(|| Instant::now() + linger);
                }
            }
            match until {
                Some(until) => drop(tokio::time::timeout_at(until, rung).await),
                None => rung.await,
            }
        }
    }

    /// Whether it was told to end.
    fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// A batch has left, for good or not.
    fn settled(&self, events: usize) {
        self.lock().under_way = 0;
        self.metrics.waiting.dec_by(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// Waits out a pause; the end makes it a short one.
    async fn pause(&self, pause: Duration) {
        let (until, short) = (Instant::now() + pause, Instant::now() + self.bounds.pause.min(pause));
        while !self.is_closed() {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.bell.notified() => {}
            }
            // What came in meanwhile rings, too.
            if Instant::now() >= until {
                return;
            }
        }
        sleep_until(short).await;
    }
}

impl Queue {
    fn take(&mut self, most: usize, bytes: usize) -> Vec<String> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while taken.len() < most
            && let Some(event) = self.events.pop_front_if(|event| taken.is_empty() || size + event.len() <= bytes)
        {
            size += event.len();
            taken.push(event);
        }
        self.bytes -= size;
        self.under_way = taken.len();
        taken
    }
}

async fn run(shared: Arc<Shared>, mut outlet: Box<dyn Outlet>, routing_key: String) {
    while let Some(events) = shared.next().await {
        let id = format!("{:016x}{:016x}", clock::random_u64(), clock::random_u64());
        let batch = Batch { id, routing_key: routing_key.clone(), events };
        let dropped = deliver(&shared, &mut *outlet, &batch).await;
        let events = batch.events.len();
        shared.settled(events);
        match dropped {
            None => {
                shared.metrics.sent.inc_by(events as u64);
                shared.metrics.batches.inc();
            }
            Some(reason) => shared.dropped(reason, events),
        }
    }
}

/// Sends a batch until it arrives, or it is given up: why.
async fn deliver(shared: &Shared, outlet: &mut dyn Outlet, batch: &Batch) -> Option<&'static str> {
    let Bounds { patience, pause, longest_pause, .. } = shared.bounds;
    let give_up = Instant::now() + patience;
    let (mut next, mut told, mut tries) = (pause, None, 0_u32);
    loop {
        let undelivered = match outlet.send(batch).await {
            Ok(()) => return None,
            Err(undelivered) => undelivered,
        };
        let (code, retryable) = (undelivered.failure.code.as_str().to_owned(), undelivered.retryable);
        let detail = undelivered.failure.detail.as_deref().unwrap_or_default();
        tracing::debug!(deployment.id = shared.name, code, detail, retryable, "query events were not sent");
        if !retryable {
            tracing::warn!(deployment.id = shared.name, code, detail, error = %undelivered.failure, "query events were refused");
            return Some("refused");
        }
        // What passes at once is not worth a line.
        if tries > 0 && told.is_none_or(|told: Instant| told.elapsed() >= TELL) {
            told = Some(Instant::now());
            tracing::warn!(deployment.id = shared.name, code, detail, error = %undelivered.failure, "query events wait, and are tried again");
        }
        // Not all emitters come back at once.
        let jitter = next.mul_f64(0.5 + clock::chance() / 2.0);
        let wait = jitter.max(undelivered.retry_after.unwrap_or_default());
        if Instant::now() + wait > give_up {
            tracing::warn!(deployment.id = shared.name, code, detail, error = %undelivered.failure, "query events were tried for too long");
            return Some("too_old");
        }
        shared.pause(wait).await;
        shared.metrics.retries.inc();
        next = (next * 2).min(longest_pause);
        tries = tries.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
